"""
Failed events that are to be tried again in the background.

A web request tries some, and asks for the rest; the process that runs the projection
finds that out when it renews its lease.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from time import monotonic

from django.utils import timezone

from django_esdb.failures.audit import Audit
from django_esdb.failures.parking import failed_events
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import FailedEvent, FailedEventQuerySet


@dataclass
class Limits:
    """
    How much may be done at once.

    Attributes:
        most: How many events.
        seconds: How long after this object was made the last one may begin.
        is_stopping: Whether none may begin any more.
    """

    most: float = inf
    seconds: float = inf
    is_stopping: Callable[[], bool] = lambda: False
    _began: float = field(default_factory=monotonic, init=False)
    _done: int = field(default=0, init=False)

    def allow_another(self) -> bool:
        """Return whether one more event may be tried, and count it."""
        if self._done >= self.most or monotonic() - self._began >= self.seconds:
            return False
        if self.is_stopping():
            return False
        self._done += 1
        return True


def request_retry(audit: Audit, events: FailedEventQuerySet) -> int:
    """Have events tried in the background; return how many there still are."""
    return events.order_by().update(
        retry_requested_at=timezone.now(), retry_requested_by=audit.user
    )


def forget_request(tracked: TrackedProjection, event: FailedEvent) -> None:
    """
    Note, before an event is tried, that its request is being carried out.

    One that ends its process must not do so again and again.
    """
    if event.retry_requested_at is not None:
        failed_events(tracked).filter(pk=event.pk).order_by().update(
            retry_requested_at=None, retry_requested_by=""
        )


def requested_events(tracked: TrackedProjection) -> FailedEventQuerySet:
    """Return the events that are to be tried in the background, in order."""
    return failed_events(tracked).exclude(retry_requested_at=None)


def requested(tracked: TrackedProjection, most: int) -> list[tuple[str, list[int]]]:
    """
    Return what to try next, in order: users, and the events that each asks for.

    Args:
        tracked: The projection.
        most: How many events at most.
    """
    found = requested_events(tracked)
    pairs = found.values_list("retry_requested_by", "pk")[:most]
    return [
        (user, [pk for _, pk in group])
        for user, group in groupby(pairs, key=lambda pair: pair[0])
    ]
