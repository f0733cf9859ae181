"""Leaving out failed events for good."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from django_esdb.failures.audit import Audit
from django_esdb.failures.parking import failed_events
from django_esdb.failures.retrying import unknown_event
from django_esdb.failures.skipping import note_discarded
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import FailedEvent, FailedEventQuerySet
from django_esdb.registry import Registration


def discard_selected(
    tracked: TrackedProjection, pks: Collection[int], audit: Audit | None = None
) -> list[FailedEvent]:
    """
    Leave out some failed events for good, all in one transaction.

    It need not be known here what the projection is.

    Returns:
        Those that there were.
    """
    with _held(tracked) as failed:
        chosen = failed.filter(pk__in=pks)
        events = list(chosen)
        if audit is not None:
            audit.discarded(events)
        note_discarded(tracked, chosen)
        chosen.order_by().delete()
    return events


def count_failed_events(registration: Registration, pk: int | None = None) -> int:
    """
    Return how many failed events :func:`discard_failed_events` would leave out.

    Raises:
        FailedEventError: There is no event *pk*.
        django.db.Error: The database cannot be used.
    """
    tracked = registration.tracked()
    events = failed_events(tracked)
    count = (events if pk is None else events.filter(pk=pk)).count()
    if pk is not None and not count:
        raise unknown_event(tracked, pk)
    return count


def discard_failed_events(registration: Registration, pk: int | None = None) -> int:
    """
    Leave out failed events for good, as if they had been skipped.

    Later events of the same aggregate that wait behind one stay; they can be tried
    again then.

    Args:
        registration: The projection.
        pk: The one event to discard; None for all.

    Returns:
        How many there were.

    Raises:
        FailedEventError: There is no such event.
    """
    tracked = registration.tracked()
    with _held(tracked) as events:
        if pk is not None:
            events = events.filter(pk=pk)
        note_discarded(tracked, events)
        count = events.order_by().delete()[0]
    if pk is not None and not count:
        raise unknown_event(tracked, pk)
    return count


@contextmanager
def _held(tracked: TrackedProjection) -> Iterator[FailedEventQuerySet]:
    """Hold a transaction in which no runner adds failed events; return those."""
    with tracked.locked():
        yield failed_events(tracked)
