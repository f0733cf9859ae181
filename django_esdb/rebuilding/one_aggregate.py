"""
Rebuilding the rows of one aggregate.

The projection's lease is taken, so that its position stays where it is; then the
aggregate's events up to there are read from the store. In one transaction its rows are
deleted, these events are processed, and the lease is given back. So whatever the
position says is in the rows, before and after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from eventsourcing.application import Application
from eventsourcing.projection import Projection

from django_esdb.applications.shared import from_leader, make_application
from django_esdb.exceptions import (
    ConfigurationError,
    EventProcessingError,
    NoSuchAggregateError,
)
from django_esdb.failures.attempts import view_and_projection
from django_esdb.failures.parking import aggregate_key
from django_esdb.handlers.functions import CheckedProjection
from django_esdb.leases.lease import Lease
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import (
    FailedEvent,
    ProjectionState,
    ProjectionTracking,
    SkippedEvent,
)
from django_esdb.rebuilding.holding import being_rebuilt, hold_lease
from django_esdb.rebuilding.resetting import view_class
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration
from django_esdb.subscriptions.aggregates import aggregate_notifications
from django_esdb.subscriptions.positions import check_same_store
from django_esdb.subscriptions.received import Decoder, ReceivedEvent
from django_esdb.topics.subscribed import is_among
from eventsourcing_eventstoredb.metadata import handling
from eventsourcing_eventstoredb.text import describe, named_line, quoted

_METHOD = "aggregate_rows"
# After so many events that are read the lease is renewed.
_RENEWED_AFTER = 500


@dataclass(frozen=True)
class RebuiltAggregate:
    """
    An aggregate whose rows are rebuilt.

    Attributes:
        rows: How many rows were deleted, by the model's label.
        events: How many events were processed.
    """

    rows: Counter[str]
    events: int


def require_aggregate_rows(registration: Registration) -> None:
    """
    Refuse a projection whose view does not say which rows are an aggregate's.

    Raises:
        ConfigurationError: The text says what to write.
    """
    found = view_class(registration)
    if callable(getattr(found, _METHOD, None)):
        return
    example = found.read_models[0].__name__ if found.read_models else "Model"
    msg = (
        f"{found.__name__} does not say which rows are an aggregate's, so they cannot "
        f"be rebuilt alone: give it a method {_METHOD}(self, originator_id) that "
        f"returns a queryset of them, such as {example}.objects.filter("
        "pk=originator_id), or several in a list"
    )
    raise ConfigurationError(msg)


def rebuild_aggregate(registration: Registration, aggregate: str) -> RebuiltAggregate:
    """
    Delete an aggregate's rows and process its events again; blocks until that is done.

    Waits for a batch that is under way. Who runs the projection stands by meanwhile.
    Failed and skipped events of the aggregate are processed, too. Nothing has effects.
    Where it is broken off, the old rows stand.

    Args:
        registration: The projection. Its view has a method ``aggregate_rows``.
        aggregate: The aggregate's ID.

    Raises:
        ConfigurationError: The view does not say which rows are an aggregate's.
        NoSuchAggregateError: The store has no events of it.
        EventProcessingError: An event has failed.
        LeaseHeldError: All of the projection is being rebuilt.
        LeaseLostError: Another process has taken over.
        OtherStoreError: The projection has processed another store's events.
        PersistenceError: The event store cannot be used.
        django.db.Error: The database cannot be used, or refuses.
    """
    require_aggregate_rows(registration)
    # Other nodes may be behind the position.
    env = from_leader(registration.application_class, registration.env())
    tracked = registration.tracked()
    with closing(make_application(registration.application_class, env)) as app:
        row = tracked.row()
        check_same_store(app.recorder, row)
        if row.position is None:
            return RebuiltAggregate(Counter(), 0)
        lease, position = _hold(tracked)
        try:
            events = _read(app, registration, aggregate, position, lease)
            view, projection = view_and_projection(registration, env)
            return _replace(view, projection, events, lease)
        finally:
            # Does nothing where the transaction has done it.
            _give_back(lease, tracked.row())


def rows_of(registration: Registration, aggregate: str) -> Counter[str]:
    """
    Return how many rows an aggregate has now, by the model's label.

    Args:
        registration: As for :func:`rebuild_aggregate`.
        aggregate: The aggregate's ID as its view knows it.

    Raises:
        ConfigurationError: The view does not say which rows are an aggregate's.
        NoSuchAggregateError: No row's aggregate can have such an ID.
        django.db.Error: The database cannot be used.
    """
    require_aggregate_rows(registration)
    view, _ = view_and_projection(registration, registration.env())
    counts: Counter[str] = Counter()
    try:
        for rows in _querysets(view, aggregate):
            counts[rows.model._meta.label] += rows.count()
    except (ValidationError, ValueError, TypeError) as error:
        raise _no_events(registration, aggregate) from error
    return counts


def delete_rows_of(view: DjangoTrackingRecorder, originator_id: Any) -> Counter[str]:
    """
    Delete an aggregate's rows, within a transaction; return how many, by model's label.

    Args:
        view: It has a method ``aggregate_rows``.
        originator_id: The aggregate's ID, as its events have it.

    Raises:
        ConfigurationError: The method returns something else than querysets of rows.
        django.db.Error: The database refuses.
    """
    deleted: Counter[str] = Counter()
    for rows in _querysets(view, originator_id):
        deleted.update(rows.delete()[1])
    return deleted


def _hold(tracked: TrackedProjection) -> tuple[Lease, int]:
    """Take the lease from its owner; return it and the position, which stays."""
    with tracked.locked():
        row = tracked.row()
        lease = hold_lease(tracked, row)
        if row.position is None:
            raise being_rebuilt(tracked, row)
    return lease, row.position


def _give_back(lease: Lease, row: ProjectionTracking) -> None:
    states = (ProjectionState.RUNNING, ProjectionState.STANDING_BY)
    state = ProjectionState.STOPPED.value if row.state in states else row.state
    lease.tracked.queryset().filter(token=lease.token, owner=lease.owner).update(
        owner="", leased_until=None, state=state
    )


def _read(
    app: Application[Any],
    registration: Registration,
    aggregate: str,
    position: int,
    lease: Lease,
) -> list[ReceivedEvent]:
    decoded = Decoder(registration.application_name, app.mapper)
    topics = frozenset(registration.topics)
    events = []
    number = 0
    for number, notification in enumerate(
        aggregate_notifications(app, aggregate), start=1
    ):
        if number % _RENEWED_AFTER == 0:
            lease.renew()
        is_wanted = is_among(notification.topic, topics)
        if notification.id <= position and is_wanted:
            events.append(decoded(notification))
    if not number:
        raise _no_events(registration, aggregate)
    return events


def _no_events(registration: Registration, aggregate: str) -> NoSuchAggregateError:
    return NoSuchAggregateError(
        f"There are no events of aggregate {quoted(aggregate)} in "
        f"{registration.application_name!r}"
    )


def _replace(
    view: DjangoTrackingRecorder,
    projection: Projection[Any],
    events: Sequence[ReceivedEvent],
    lease: Lease,
) -> RebuiltAggregate:
    """Delete the rows and process the events, in one transaction."""
    tracked = lease.tracked
    if not events:
        return RebuiltAggregate(Counter(), 0)
    first = events[0].notification
    checked = CheckedProjection(projection)
    with view.batch_in_place(tracked.application, is_replay=True) as batch:
        row = tracked.row()
        if row.token != lease.token:
            raise lease.lost()
        rows = _delete(view, tracked, first.originator_id, aggregate_key(first))
        for event in events:
            try:
                if event.error is not None:
                    raise event.error
                batch.begin(event.tracking)
                with handling(event.notification):
                    checked.process_event(event.domain_event, event.tracking)
            except Exception as error:
                msg = (
                    f"Projection {tracked.projection!r} has failed again at "
                    f"{describe(event.notification)}: {named_line(error)}"
                )
                raise EventProcessingError(msg) from error
        batch.event_ended()
        _give_back(lease, row)
    return RebuiltAggregate(rows, len(events))


def _delete(
    view: DjangoTrackingRecorder,
    tracked: TrackedProjection,
    originator_id: Any,
    key: str,
) -> Counter[str]:
    deleted: Counter[str] = Counter()
    for kept in (FailedEvent, SkippedEvent):
        found = tracked.unprocessed(kept)
        # Compared again, since not every database tells upper from lower case.
        pks = [
            pk
            for pk, each in found.filter(originator_id=key).values_list(
                "pk", "originator_id"
            )
            if each == key
        ]
        deleted.update(kept.objects.using(tracked.using).filter(pk__in=pks).delete()[1])
    deleted.update(delete_rows_of(view, originator_id))
    return deleted


def _querysets(
    view: DjangoTrackingRecorder, originator_id: Any
) -> list[models.QuerySet[Any]]:
    returned: Any = getattr(view, _METHOD)(originator_id)
    is_one = isinstance(returned, models.QuerySet)
    if not is_one and not isinstance(returned, Iterable):
        msg = (
            f"{type(view).__name__}.{_METHOD}() has returned a "
            f"{type(returned).__name__}; it must be a queryset, or several in a list"
        )
        raise ConfigurationError(msg)
    found = [returned] if is_one else list(returned)
    for each in found:
        if not isinstance(each, models.QuerySet) or each.model not in view.read_models:
            what = each.model if isinstance(each, models.QuerySet) else type(each)
            msg = (
                f"{type(view).__name__}.{_METHOD}() has returned a {what.__name__}, "
                "which is none of its read_models"
            )
            raise ConfigurationError(msg)
    return [each.using(view.using) for each in found]
