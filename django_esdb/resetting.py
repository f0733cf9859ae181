"""Starting a projection over from the first event, also while workers run it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from django.db import models, transaction
from django.utils import timezone

from django_esdb.exceptions import ConfigurationError
from django_esdb.leases.lease import NOTHING_ATTEMPTED, next_token
from django_esdb.models import (
    FailedEvent,
    ProjectionLag,
    ProjectionState,
    SkippedEvent,
)
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration


def reset_projection(registration: Registration) -> Counter[str]:
    """
    Delete what a projection has made, and let it start over; in one transaction.

    Waits for a batch that is under way. Its owner, if it has one, cannot commit any
    more, as its token is not the row's. It or another worker takes the projection up
    again, from the first event on.

    Args:
        registration: The projection. Rows of its view's ``read_models`` are deleted,
            those that refer to others first, with what Django deletes with them.

    Returns:
        How many rows were deleted, by the model's label.

    Raises:
        ConfigurationError: The view keeps its position itself.
        django.db.Error: The database cannot be used, or refuses since other rows refer
            to the read models'. Nothing is changed.
    """
    view_class = _view_class(registration)
    tracked = registration.tracked()
    tracked.ensure_row()
    deleted: Counter[str] = Counter()
    with transaction.atomic(using=tracked.using):
        tracked.lock()
        row = tracked.row()
        tracked.queryset().update(
            token=next_token(row),
            owner="",
            leased_until=None,
            position=None,
            updated_at=None,
            event_position=None,
            event_id="",
            event_time=None,
            processed=0,
            state=ProjectionState.STOPPED,
            state_since=timezone.now(),
            error="",
            traceback="",
            attempts=0,
            **NOTHING_ATTEMPTED,
            fingerprint="",
            paused_by="",
        )
        # Counted with what was processed; a worker measures it again.
        ProjectionLag.objects.using(tracked.using).filter(tracking_id=row.pk).delete()
        for kept in (FailedEvent, SkippedEvent):
            events = kept.objects.using(tracked.using).of(
                tracked.projection, tracked.application
            )
            deleted.update(events.delete()[1])
        for model in referring_first(view_class.read_models):
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
    view_class = _view_class(registration)
    tracked = registration.tracked()
    made: Counter[str] = Counter()
    for model in referring_first(view_class.read_models):
        made[model._meta.label] = model._base_manager.using(tracked.using).count()
    for kept in (FailedEvent, SkippedEvent):
        events = kept.objects.using(tracked.using)
        made[kept._meta.label] = events.of(
            tracked.projection, tracked.application
        ).count()
    row = tracked.queryset().first()
    has_begun = row is not None and (row.position is not None or row.error)
    return made if has_begun or made.total() else None


def _view_class(registration: Registration) -> type[DjangoTrackingRecorder]:
    view_class = registration.view_class
    if not issubclass(view_class, DjangoTrackingRecorder):
        msg = (
            f"{view_class.__name__} keeps the position of {registration.name} itself, "
            "so it cannot be reset here"
        )
        raise ConfigurationError(msg)
    return view_class


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
