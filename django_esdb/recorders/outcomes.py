"""What has become of events that are waited for."""

from __future__ import annotations

from enum import Enum
from typing import Any

from django.db import connections
from django.db.models import Exists, Q
from django.db.models.sql import Query

from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import FailedEvent, ProjectionState, SkippedEvent


class WaitResult(Enum):
    """
    What has become of what was waited for; true where nothing is missing in the view.

    Attributes:
        PROCESSED: It is processed.
        OTHER_TOPICS: It is of no topic of the projection.
        SKIPPED: It has failed, and is left out for good, or was discarded.
        PARKED: It has failed or waits for an earlier event, and is put aside.
        PAUSED: The projection is paused, and has not got there.
        TIMED_OUT: The projection has not got there in time.
    """

    PROCESSED = "processed"
    OTHER_TOPICS = "of no topic of the projection"
    SKIPPED = "skipped, since it failed"
    PARKED = "put aside"
    PAUSED = "the projection is paused"
    TIMED_OUT = "not processed in time"

    def __bool__(self) -> bool:
        return self in (WaitResult.PROCESSED, WaitResult.OTHER_TOPICS)


class Awaited:
    """
    Events that are waited for, by one projection.

    Args:
        position: Of the last one.
        events: Aggregates' IDs as text and versions, as far as they are known. A save
            of several events has one position, that of the last one.
    """

    def __init__(self, position: int, events: tuple[tuple[str, int], ...] = ()) -> None:
        self.position = position
        self._events = events
        # Asked over and over, which takes Django longer to compile than the database.
        self._statement: tuple[str, tuple[Any, ...]] | None = None

    def outcome(self, tracked: TrackedProjection) -> WaitResult | None:
        """
        Return what has become of them, None if that is open; one query.

        Args:
            tracked: The projection, the same each time.

        Raises:
            django.db.Error: The database could not be asked.
        """
        if self._statement is None:
            compiler = self._query(tracked).get_compiler(tracked.using)
            self._statement = compiler.as_sql()
        with connections[tracked.using].cursor() as cursor:
            cursor.execute(*self._statement)
            found = cursor.fetchone()
        if found is None:
            return None
        position, state, owner, is_parked, is_skipped = found
        if position is not None and position >= self.position:
            if is_parked:
                return WaitResult.PARKED
            return WaitResult.SKIPPED if is_skipped else WaitResult.PROCESSED
        # With an owner it is being tried again.
        if state == ProjectionState.PAUSED and not owner:
            return WaitResult.PAUSED
        return None

    def _query(self, tracked: TrackedProjection) -> Query:
        these = Q() if self._events else Q(position=self.position)
        for originator_id, version in self._events:
            these |= Q(originator_id=originator_id, originator_version=version)
        parked, skipped = (
            model.objects.using(tracked.using)
            .of(tracked.projection, tracked.application)
            .filter(these)
            for model in (FailedEvent, SkippedEvent)
        )
        columns = "position", "state", "owner", Exists(parked), Exists(skipped)
        return tracked.queryset().values_list(*columns).query
