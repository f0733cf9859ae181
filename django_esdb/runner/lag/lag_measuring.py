"""Measuring how far projections are behind, and writing that down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from django.utils import timezone
from eventsourcing.application import Application
from eventsourcing.persistence import PersistenceError

from django_esdb.leases.process_identity import is_gone, new_owner
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import ProjectionLag, ProjectionTracking
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration
from django_esdb.runner.lag.sampling import Sampling
from django_esdb.runner.projection_runner import ProjectionRunner
from django_esdb.subscriptions.heads import Head, count_events, counts_by_ids

# Of events that no subscription here receives, at most so many are counted.
MOST_COUNTED = 1000
# Where others write nothing for so long, they do not measure.
_STALE = timedelta(seconds=15)
# More than one process may measure what none runs.
_FRESH = timedelta(seconds=0.8)
# What has not changed is written again after so long, to say that it is so.
REFRESH_SECONDS = 5.0
# A count that has failed is not begun again at once, since it may be one that takes too
# long; each time that it fails it waits twice as long.
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 60.0


@dataclass
class _Count:
    """Events that were counted from a position on, up to another one."""

    position: int | None
    up_to: int | None
    events: int = 0
    pause: float = _FIRST_PAUSE_SECONDS
    again_at: float = 0.0


class LagMeasuring:
    """
    Measures the lag of one application's projections; one thread at a time.

    Args:
        registrations: The projections.
    """

    def __init__(self, registrations: Iterable[Registration]) -> None:
        self._registrations = {each.tracked(): each for each in registrations}
        self._counts: dict[TrackedProjection, _Count] = {}
        self._have_rows = False
        self._sampling = Sampling()
        # What this process's names of owners begin with.
        self._process = new_owner().rpartition(":")[0]

    @property
    def tracked(self) -> list[TrackedProjection]:
        """What is measured."""
        return list(self._registrations)

    def ensure_rows(self) -> None:
        """
        Have those have a row that have never run, for the lag to be shown.

        Raises:
            django.db.Error: A database cannot be used.
        """
        if not self._have_rows:
            for tracked in self._registrations:
                tracked.ensure_row()
            self._have_rows = True

    def measure(
        self,
        app: Application[Any],
        head: Head | None,
        runners: Mapping[TrackedProjection, ProjectionRunner],
        chosen: Iterable[TrackedProjection],
    ) -> None:
        """
        Measure what this process runs and what none does; write what has changed.

        Args:
            app: The application.
            head: Where its events end.
            runners: Those that run here.
            chosen: What to measure, if it is not another process's.

        Raises:
            PersistenceError: The store cannot be asked.
            django.db.Error: A database cannot be used.
        """
        for tracked, row in self._rows(chosen, runners):
            runner = runners.get(tracked)
            if head is None and row.position is not None:
                # Of events in memory this process may have others.
                continue
            total, is_exact = self._total(app, head, tracked, row, runner)
            pace = None if runner is None else runner.progress.pace()
            values = {
                "head": None if head is None else head.position,
                "head_time": None if head is None else head.time,
                "total": total,
                "is_exact": is_exact,
                "rate": 0.0 if pace is None else round(pace.rate, 3),
                "speed": 0.0 if pace is None else round(pace.speed, 3),
                "unknown_since": None,
            }
            if is_exact and total == row.processed and head is not None and head.time:
                values["reached_time"] = head.time
            now = timezone.now()
            _write(tracked, row, values, now)
            self._sampling.note(tracked, row, values, now)

    def note_unknown(
        self,
        since: datetime,
        runners: Mapping[TrackedProjection, ProjectionRunner],
    ) -> None:
        """
        Write down since when the store cannot be asked.

        Raises:
            django.db.Error: A database cannot be used.
        """
        for tracked, row in self._rows(self._registrations, runners):
            if _lag(row) is None or row.lag.unknown_since is None:
                _write(tracked, row, {"unknown_since": since, "rate": 0.0}, None)

    def _rows(
        self,
        chosen: Iterable[TrackedProjection],
        runners: Mapping[TrackedProjection, ProjectionRunner],
    ) -> list[tuple[TrackedProjection, Any]]:
        databases: dict[str, dict[tuple[str, str], TrackedProjection]] = {}
        for tracked in chosen:
            named = databases.setdefault(tracked.using, {})
            named[tracked.projection, tracked.application] = tracked
        found = []
        for alias, named in databases.items():
            rows = (
                ProjectionTracking.objects.using(alias)
                .filter(projection__in=[projection for projection, _ in named])
                .with_ownership()
                .select_related("lag")
            )
            for row in rows:
                key = named.get((row.projection, row.application))
                if key is not None and (key in runners or self._is_to_write(row)):
                    found.append((key, row))
        return found

    def _is_to_write(self, row: Any) -> bool:
        """Return whether no other process writes what is not run here."""
        lag = _lag(row)
        if row.is_owned and row.owner.startswith(f"{self._process}:"):
            return True
        if lag is None or lag.measured_at is None:
            return True
        age = timezone.now() - lag.measured_at
        is_others = row.is_owned and not is_gone(row.owner)
        # Clocks differ: what is of the future says nothing.
        limit = _STALE if is_others else _FRESH
        return bool(age > limit or age < -limit)

    def _total(
        self,
        app: Application[Any],
        head: Head | None,
        tracked: TrackedProjection,
        row: Any,
        runner: ProjectionRunner | None,
    ) -> tuple[int | None, bool]:
        """Return how many events there are up to the head, and whether just so many."""
        registration = self._registrations[tracked]
        position, processed = row.position, row.processed
        if not issubclass(registration.view_class, DjangoTrackingRecorder):
            if runner is None:
                # Its position is where only the view knows.
                return None, False
            position = runner.view.max_tracking_id(tracked.application)
        if head is None:
            return processed, True
        if position is not None and position >= head.position:
            return processed, True
        topics = registration.topics
        if not topics and counts_by_ids(app.recorder):
            return processed + head.position - (position or 0), True
        known = None if runner is None else runner.known_total
        if known is not None:
            total, is_exact = known
            return max(total, processed), is_exact
        counted = self._counted(app, head, tracked, position)
        return processed + counted, counted < MOST_COUNTED and not self._is_open(
            tracked
        )

    def _counted(
        self,
        app: Application[Any],
        head: Head,
        tracked: TrackedProjection,
        position: int | None,
    ) -> int:
        """Count what lies before the head; each event is read once, and not all are."""
        count = self._counts.get(tracked)
        if count is None or count.position != position:
            count = self._counts[tracked] = _Count(position, position)
        if count.events >= MOST_COUNTED or monotonic() < count.again_at:
            return count.events
        topics = self._registrations[tracked].topics
        # Until it has succeeded; also if it ends in another way.
        count.again_at = monotonic() + count.pause
        try:
            count.events += count_events(
                app.recorder,
                count.up_to,
                head.position,
                topics,
                MOST_COUNTED - count.events,
            )
        except PersistenceError:
            # Much may lie between few events; the store was there for the head.
            count.again_at = monotonic() + count.pause
            count.pause = min(2 * count.pause, _LONGEST_PAUSE_SECONDS)
            return count.events
        count.up_to = head.position
        count.again_at, count.pause = 0.0, _FIRST_PAUSE_SECONDS
        return count.events

    def _is_open(self, tracked: TrackedProjection) -> bool:
        """Return whether a count has not come to its end."""
        return self._counts[tracked].again_at > 0.0


def _lag(row: Any) -> ProjectionLag | None:
    return getattr(row, "lag", None)


def _write(
    tracked: TrackedProjection,
    row: Any,
    values: dict[str, Any],
    measured_at: datetime | None,
) -> None:
    lag = _lag(row)
    if measured_at is not None:
        is_same = lag is not None and all(
            getattr(lag, name) == value for name, value in values.items()
        )
        if is_same and lag is not None and lag.measured_at is not None:
            age = (measured_at - lag.measured_at).total_seconds()
            if 0 <= age < REFRESH_SECONDS:
                return
        values["measured_at"] = measured_at
    lags = ProjectionLag.objects.using(tracked.using)
    if lag is None:
        # Another process may have made it just now, and has measured it then.
        lags.bulk_create(
            [ProjectionLag(tracking_id=row.pk, **values)], ignore_conflicts=True
        )
    else:
        lags.filter(pk=row.pk).update(**values)
