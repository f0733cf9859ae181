"""
Notes of failed and skipped events that a projection has yet to come to.

An event is noted in the transaction that moves the position to it, so there is none
behind the position, unless an operator has deleted the projection's row, or moved its
position back, by hand. The projection comes to these events again then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

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
    position = tracked.queryset().position()
    if not any(notes.exists() for notes in _notes_ahead(tracked, position)):
        return
    with tracked.locked():
        # Asked again, since only now it cannot be moved.
        position = tracked.queryset().position()
        failed, skipped = (
            notes.delete()[0] for notes in _notes_ahead(tracked, position)
        )
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


def _notes_ahead(
    tracked: TrackedProjection, position: int | None
) -> Iterator[QuerySet[Any]]:
    """Yield what is noted of failed and of skipped events behind a position."""
    for kind in (FailedEvent, SkippedEvent):
        notes: QuerySet[Any] = tracked.unprocessed(kind).order_by()
        yield notes if position is None else notes.filter(position__gt=position)
