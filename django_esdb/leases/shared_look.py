"""One query for all projections that a process waits for."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from random import random
from time import monotonic

from django.db import Error as DatabaseError
from django.db import models

from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import ProjectionTracking


class SharedLook:
    """
    Reads the rows of all projections that are waited for, once in each interval.

    Who waits asks at the beginning of an interval, so all ask at about the same time:
    the first one queries, and the rest gets what it has found. Each database has a
    query, and none waits for another one. All methods may be called by any thread.

    Args:
        seconds: How long an interval is.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Not every process asks at the same time.
        self._offset = random() * seconds  # noqa: S311  (no secret)
        # Guards the databases, not what they have.
        self._lock = threading.Lock()
        self._databases: dict[str, _Database] = {}

    def row(self, tracked: TrackedProjection) -> ProjectionTracking:
        """
        Return a projection's row, as it is or was in this interval; made if need be.

        From now on it is among those that are read together. It has ``is_owned`` in
        addition: whether a process has the lease, by the database's clock.

        Raises:
            django.db.Error: The database cannot be used. Who has asked meanwhile gets
                the same error.
        """
        database = self._database(tracked.using)
        asked_at = monotonic()
        with database.lock:
            return database.row(tracked, self._now()[0], asked_at)

    def await_all(self, tracked: Iterable[TrackedProjection]) -> None:
        """Read these together, too, from the next query on."""
        for each in tracked:
            database = self._database(each.using)
            with database.lock:
                database.awaited.add(each)

    def forget(self, tracked: TrackedProjection) -> None:
        """Do not read a projection's row any more, until it is asked for."""
        database = self._database(tracked.using)
        with database.lock:
            database.forget(tracked)

    def pause(self) -> float:
        """Return the seconds until the next interval begins."""
        return self._seconds - self._now()[1]

    def _database(self, using: str) -> _Database:
        with self._lock:
            return self._databases.setdefault(using, _Database(using))

    def _now(self) -> tuple[int, float]:
        """Return which interval it is, and for how many seconds."""
        interval, since = divmod(monotonic() + self._offset, self._seconds)
        return int(interval), since


class _Database:
    """
    What is waited for in one database; all but the lock is used with that held.

    Attributes:
        lock: Lets one query at a time.
        awaited: What is read together.
    """

    def __init__(self, using: str) -> None:
        self.lock = threading.Lock()
        self.awaited: set[TrackedProjection] = set()
        self._using = using
        self._found: dict[TrackedProjection, ProjectionTracking] = {}
        self._interval = -1
        self._error: DatabaseError | None = None
        self._failed_at = 0.0

    def row(
        self, tracked: TrackedProjection, interval: int, asked_at: float
    ) -> ProjectionTracking:
        self.awaited.add(tracked)
        if self._error is not None and asked_at <= self._failed_at:
            # One after the other would wait for a database that does not answer.
            raise self._error
        if interval != self._interval:
            self._found.clear()
        self._interval = interval
        if tracked not in self._found:
            try:
                self._read(tracked)
            except DatabaseError as error:
                self._error, self._failed_at = error, monotonic()
                raise
            self._error = None
        return self._found[tracked]

    def forget(self, tracked: TrackedProjection) -> None:
        self.awaited.discard(tracked)
        self._found.pop(tracked, None)

    def _read(self, tracked: TrackedProjection) -> None:
        any_of = models.Q()
        for each in self.awaited:
            any_of |= models.Q(projection=each.projection, application=each.application)
        rows = ProjectionTracking.objects.using(self._using).filter(any_of)
        for row in rows.with_ownership():
            found = TrackedProjection(self._using, row.projection, row.application)
            self._found[found] = row
        if tracked not in self._found:
            tracked.ensure_row()
            self._found[tracked] = tracked.queryset().with_ownership().get()
