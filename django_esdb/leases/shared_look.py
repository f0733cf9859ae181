"""One query for all projections that a process waits for."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from random import random
from time import monotonic

from django.db import models

from django_esdb.leases.lease import TrackedProjection
from django_esdb.models import ProjectionTracking


class SharedLook:
    """
    Reads the rows of all projections that are waited for, once in each interval.

    Who waits asks at the beginning of an interval, so all ask at about the same time:
    the first one queries, and the rest gets what it has found. All methods may be
    called by any thread.

    Args:
        seconds: How long an interval is.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Not every process asks at the same time.
        self._offset = random() * seconds  # noqa: S311  (no secret)
        # Guards all below, and lets one query at a time.
        self._lock = threading.Lock()
        self._awaited: set[TrackedProjection] = set()
        self._found: dict[TrackedProjection, ProjectionTracking] = {}
        self._interval = -1

    def row(self, tracked: TrackedProjection) -> ProjectionTracking:
        """
        Return a projection's row, as it is or was in this interval; made if need be.

        From now on it is among those that are read together. It has ``is_owned`` in
        addition: whether a process has the lease, by the database's clock.

        Raises:
            django.db.Error: The database cannot be used.
        """
        with self._lock:
            self._awaited.add(tracked)
            interval, _ = self._now()
            if interval != self._interval:
                self._found.clear()
            self._interval = interval
            if tracked not in self._found:
                self._read(tracked)
            return self._found[tracked]

    def await_all(self, tracked: Iterable[TrackedProjection]) -> None:
        """Read these together, too, from the next query on."""
        with self._lock:
            self._awaited.update(tracked)

    def forget(self, tracked: TrackedProjection) -> None:
        """Do not read a projection's row any more, until it is asked for."""
        with self._lock:
            self._awaited.discard(tracked)
            self._found.pop(tracked, None)

    def pause(self) -> float:
        """Return the seconds until the next interval begins."""
        return self._seconds - self._now()[1]

    def _now(self) -> tuple[int, float]:
        """Return which interval it is, and for how many seconds."""
        interval, since = divmod(monotonic() + self._offset, self._seconds)
        return int(interval), since

    def _read(self, tracked: TrackedProjection) -> None:
        any_of = models.Q()
        for each in self._awaited:
            if each.using == tracked.using:
                any_of |= models.Q(
                    projection=each.projection, application=each.application
                )
        rows = ProjectionTracking.objects.using(tracked.using).filter(any_of)
        for row in rows.with_ownership():
            found = TrackedProjection(tracked.using, row.projection, row.application)
            self._found[found] = row
        if tracked not in self._found:
            tracked.ensure_row()
            self._found[tracked] = tracked.queryset().with_ownership().get()
