"""
Notes of failed and skipped events that a projection has yet to come to.

An event is noted in the transaction that moves the position to it, so there is none
behind the position, unless an operator has deleted the projection's row, or moved its
position back, by hand. The projection comes to these events again then.
"""

from __future__ import annotations

import logging

from django.db.models import Q

from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import FailedEvent, SkippedEvent
from eventsourcing_eventstoredb.logs import log

logger = logging.getLogger("django_esdb.runner")


def is_ahead(tracked: TrackedProjection, position: int) -> bool:
    """Return whether the projection has yet to come to the event at a position."""
    reached = tracked.queryset().position()
    return reached is None or position > reached


def forget_ahead(tracked: TrackedProjection) -> None:
    """
    Delete what is noted of events that come again, and log how much that was.

    Else an event could not be noted where it fails again, would hold up others of its
    aggregate that come before it, and would be told to have failed where it has not.
    """
    kinds = (FailedEvent, SkippedEvent)
    ahead = _ahead(tracked)
    if not any(tracked.unprocessed(kind).filter(ahead).exists() for kind in kinds):
        return
    with tracked.locked():
        # Asked again, since only now it cannot be moved.
        ahead = _ahead(tracked)
        failed, skipped = (
            tracked.unprocessed(kind).filter(ahead).order_by().delete()[0]
            for kind in kinds
        )
        position = tracked.queryset().position()
    log(
        logger,
        logging.WARNING,
        "Notes of events forgotten, since the projection comes to them again",
        projection=tracked.projection,
        application=tracked.application,
        position=position,
        failed=failed,
        skipped=skipped,
    )


def _ahead(tracked: TrackedProjection) -> Q:
    position = tracked.queryset().position()
    return Q() if position is None else Q(position__gt=position)
