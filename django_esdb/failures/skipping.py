"""Keeping a record of the events that a projection has left out."""

from __future__ import annotations

from django.utils import timezone
from eventsourcing.persistence import Notification

from django_esdb.failures.parking import event_fields
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import ProjectionEventQuerySet, SkippedEvent

# Enough to look for a cause, and for all that somebody may be waiting for.
MOST_KEPT = 1_000


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
    positions = kept.order_by("-position").values_list("position", flat=True)
    for first_forgotten in positions[MOST_KEPT : MOST_KEPT + 1]:
        kept.filter(position__lte=first_forgotten).delete()
