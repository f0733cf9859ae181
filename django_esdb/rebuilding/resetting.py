"""Starting a projection over from the first event, also while workers run it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import models
from django.utils import timezone

from django_esdb.exceptions import ConfigurationError
from django_esdb.leases.lease import NOTHING_ATTEMPTED, next_token
from django_esdb.models import (
    FailedEvent,
    ProjectionLag,
    ProjectionState,
    ProjectionTracking,
    SkippedEvent,
)
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration

# What a row says of a projection that has processed nothing yet.
NOTHING_PROCESSED: Mapping[str, Any] = {
    "position": None,
    "updated_at": None,
    "event_position": None,
    "event_id": "",
    "event_time": None,
    "processed": 0,
    "error": "",
    "traceback": "",
    "attempts": 0,
    **NOTHING_ATTEMPTED,
    "skipped_in_a_row": 0,
    "fingerprint": "",
    "paused_by": "",
}


def reset_projection(
    registration: Registration, *, with_effects: bool = False
) -> Counter[str]:
    """
    Delete what a projection has made, and let it start over; in one transaction.

    Waits for a batch that is under way. Its owner, if it has one, cannot commit any
    more, as its token is not the row's. It or another worker takes the projection up
    again, from the first event on.

    Args:
        registration: The projection. Rows of its view's ``read_models`` are deleted,
            those that refer to others first, with what Django deletes with them.
        with_effects: Whether events count as new though they were processed before,
            as those of another store in the place of the former one.

    Returns:
        How many rows were deleted, by the model's label.

    Raises:
        ConfigurationError: The view keeps its position itself.
        django.db.Error: The database cannot be used, or refuses since other rows refer
            to the read models'. Nothing is changed.
    """
    view_class(registration)
    tracked = registration.tracked()
    tracked.ensure_row()
    with tracked.locked():
        row = tracked.row()
        # What was processed once has had its effects.
        until = None if with_effects else replayed_until(row)
        return clear(
            registration,
            row,
            token=next_token(row),
            owner="",
            leased_until=None,
            state=ProjectionState.STOPPED,
            replay_until=until,
        )


def replayed_until(row: ProjectionTracking, head: int | None = None) -> int | None:
    """
    Return the last position whose event is a replay when a projection starts over.

    Args:
        row: The projection's.
        head: Where the application's events end, which may be unknown, or be told by
            a node that is behind.
    """
    ends = (row.position, row.replay_until, head)
    return max((each for each in ends if each is not None), default=None)


def clear(
    registration: Registration, row: ProjectionTracking, **changes: Any
) -> Counter[str]:
    """
    Delete a projection's rows, its failed events and its position.

    Within a transaction only, in which the projection's row is locked.

    Args:
        registration: The projection; its view is on the ORM.
        row: Its row.
        changes: What else to set in that.

    Returns:
        How many rows were deleted, by the model's label.
    """
    tracked = registration.tracked()
    tracked.queryset().update(
        **NOTHING_PROCESSED,
        state_since=timezone.now(),
        rebuild_requested_at=None,
        rebuild_requested_by="",
        **changes,
    )
    # Counted with what was processed; a worker measures it again.
    ProjectionLag.objects.using(tracked.using).filter(tracking_id=row.pk).delete()
    deleted = tracked.delete_unprocessed()
    for model in referring_first(view_class(registration).read_models):
        # Its default manager may hide some.
        rows = model._base_manager.using(tracked.using).all()
        deleted.update(rows.delete()[1])
    return deleted


def what_is_made(registration: Registration) -> Counter[str] | None:
    """
    Return how many rows :func:`reset_projection` would delete, by the model's label.

    Those that the database deletes along with them are not counted. None if there is
    nothing that could be reset: neither rows nor a position, nor an error.

    Raises:
        ConfigurationError: The view keeps its position itself.
        django.db.Error: The database cannot be used.
    """
    read_models = view_class(registration).read_models
    tracked = registration.tracked()
    made: Counter[str] = Counter()
    for model in referring_first(read_models):
        made[model._meta.label] = model._base_manager.using(tracked.using).count()
    for kept in (FailedEvent, SkippedEvent):
        made[kept._meta.label] = tracked.unprocessed(kept).count()
    row = tracked.queryset().first()
    has_begun = row is not None and (row.position is not None or row.error)
    return made if has_begun or made.total() else None


def view_class(registration: Registration) -> type[DjangoTrackingRecorder]:
    """
    Return a projection's view's class, which is on the ORM.

    Raises:
        ConfigurationError: It keeps its position itself.
    """
    found = registration.view_class
    if not issubclass(found, DjangoTrackingRecorder):
        msg = (
            f"{found.__name__} keeps the position of {registration.name} itself, "
            "so it cannot be reset here"
        )
        raise ConfigurationError(msg)
    return found


def referring_first(
    read_models: Iterable[type[models.Model]],
) -> list[type[models.Model]]:
    """Return models so that each comes before those that it refers to, if it can."""
    left = list(dict.fromkeys(read_models))
    ordered = []
    while left:
        referred = {
            field.related_model
            for model in left
            for field in model._meta.get_fields()
            if field.concrete and field.is_relation and field.related_model is not model
        }
        free = [model for model in left if model not in referred]
        # In a circle any may be the first one; the database decides at the end.
        chosen = free or left[:1]
        ordered += chosen
        left = [model for model in left if model not in chosen]
    return ordered
