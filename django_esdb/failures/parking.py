"""
Events that are put aside, so that a projection can continue without them.

Later events of the same aggregate are put aside behind the first one, since a view
must not see an aggregate's events out of order. All this is decided within the
transaction that has moved the position, which no other process is in at the same time:
not even one that resolves failed events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils import timezone
from eventsourcing.persistence import Notification

from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import FailedEvent, FailedEventQuerySet
from eventsourcing_eventstoredb.text import storable


def failed_events(tracked: TrackedProjection) -> FailedEventQuerySet:
    """Return a projection's events that are put aside, in order."""
    return (
        FailedEvent.objects.using(tracked.using)
        .of(tracked.projection, tracked.application)
        .in_order()
    )


def aggregate_key(notification: Notification) -> str:
    """Return an event's aggregate as failed events name it."""
    return storable(str(notification.originator_id))


def is_event(event: FailedEvent, notification: Notification) -> bool:
    """Return whether what is read at a failed event's position is that event."""
    return (
        notification.id == event.position
        and aggregate_key(notification) == event.originator_id
        and notification.originator_version == event.originator_version
    )


def event_fields(
    tracked: TrackedProjection, notification: Notification, error: str, traceback: str
) -> dict[str, Any]:
    """Return the fields of an event's row, whatever becomes of the event."""
    return {
        "projection": tracked.projection,
        "application": tracked.application,
        "position": notification.id,
        "originator_id": aggregate_key(notification),
        "originator_version": notification.originator_version,
        "topic": storable(notification.topic),
        "error": error,
        "traceback": traceback,
    }


class ParkedAggregates:
    """
    Which aggregates have events that are put aside, as a runner knows it.

    Only the projection's owner adds some; others may resolve them at any time. So
    what is not known here is not there, and what is known is looked up again.

    Args:
        tracked: Whose failed events they are.
    """

    def __init__(self, tracked: TrackedProjection) -> None:
        self._tracked = tracked
        self._known = set(
            failed_events(tracked).values_list("originator_id", flat=True).distinct()
        )

    def among(self, notifications: Iterable[Notification]) -> set[str]:
        """
        Return the IDs of the aggregates whose events have to be put aside.

        Call it within the transaction that has moved the position.
        """
        if not self._known:
            return set()
        asked = {aggregate_key(each) for each in notifications} & self._known
        if not asked:
            return set()
        # Compared again, since not every database tells upper from lower case.
        parked = asked & set(
            failed_events(self._tracked)
            .of_aggregates(asked)
            .values_list("originator_id", flat=True)
            .distinct()
        )
        self._known -= asked - parked
        return parked

    def park(
        self, notification: Notification, error: str = "", traceback: str = ""
    ) -> None:
        """
        Put an event aside.

        Args:
            notification: The event.
            error: Why it failed, in one line; empty if an earlier one is there.
            traceback: Where it failed.
        """
        now = timezone.now()
        FailedEvent.objects.using(self._tracked.using).create(
            **event_fields(self._tracked, notification, error, traceback),
            attempts=1 if error else 0,
            parked_at=now,
            attempted_at=now if error else None,
        )
        self._known.add(aggregate_key(notification))
