"""Keeping a record of the events that a projection has left out."""

from __future__ import annotations

from django.utils import timezone
from eventsourcing.persistence import Notification

from django_esdb.failures.parking import event_fields
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import (
    FailedEventQuerySet,
    ProjectionEventQuerySet,
    SkippedEvent,
    UnprocessedEvent,
)

# Enough to look for a cause, and for all that callers may be waiting for.
MOST_KEPT = 1_000

_WAITED = "discarded while it waited for an earlier one"


def skipped_events(tracked: TrackedProjection) -> ProjectionEventQuerySet:
    """Return the events that a projection has skipped, in order: the latest ones."""
    return tracked.unprocessed(SkippedEvent)


def note_skipped(
    tracked: TrackedProjection,
    notification: Notification,
    error: str,
    traceback: str = "",
) -> None:
    """
    Write down that an event is left out; within the position's transaction.

    The earliest are forgotten when there are more than :data:`MOST_KEPT`.

    Args:
        tracked: The projection.
        notification: The event.
        error: Why it failed, in one line.
        traceback: Where it failed.
    """
    kept = skipped_events(tracked)
    kept.update_or_create(
        position=notification.id,
        defaults={
            **event_fields(tracked, notification, error, traceback),
            "skipped_at": timezone.now(),
        },
    )
    _forget_earliest(kept)


def note_discarded(tracked: TrackedProjection, events: FailedEventQuerySet) -> None:
    """
    Write down that failed events are left out, as those that were skipped.

    Within a transaction only, before they are deleted.

    Args:
        tracked: The projection.
        events: Its failed events, of which the latest are kept.
    """
    now = timezone.now()
    fields = [each.attname for each in UnprocessedEvent._meta.fields]
    latest = events.order_by("-position").values(*fields)[:MOST_KEPT]
    noted = [SkippedEvent(**values, skipped_at=now) for values in latest]
    for each in noted:
        each.error = each.error or _WAITED
    kept = skipped_events(tracked)
    kept.filter(position__in=[each.position for each in noted]).delete()
    kept.bulk_create(noted)
    _forget_earliest(kept)


def _forget_earliest(kept: ProjectionEventQuerySet) -> None:
    positions = kept.order_by("-position").values_list("position", flat=True)
    for first_forgotten in positions[MOST_KEPT : MOST_KEPT + 1]:
        kept.filter(position__lte=first_forgotten).delete()
