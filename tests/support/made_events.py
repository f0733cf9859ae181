"""Events that are functions of a view's rows, processed singly and in batches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import connection, models
from eventsourcing.persistence import Notification, Tracking
from eventsourcing.projection import Projection

from django_esdb.models import ProjectionTracking
from django_esdb.policies import FailurePolicy, OnFailure
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.runner.batches.processor import BatchProcessor
from django_esdb.subscriptions.received import ReceivedEvent

APP = "App"

# Gets the view's ``rows``.
Event = Callable[[Any], Any]


class _View(DjangoTrackingRecorder):
    def do(self, event: Event, tracking: Tracking) -> None:
        with self.atomic(tracking):
            event(self.rows)


class _Doing(Projection[_View]):
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.do(domain_event, tracking)


class _Skipping(FailurePolicy):
    """Leaves out what fails, and notes why."""

    def __init__(self) -> None:
        super().__init__(OnFailure.SKIP, 0)
        self.failed_at: dict[int, BaseException] = {}

    def failed(self, position: int) -> OnFailure | None:
        error = sys.exc_info()[1]
        assert error is not None
        self.failed_at[position] = error
        return super().failed(position)


def projection() -> tuple[Projection[Any], DjangoTrackingRecorder]:
    """Return a projection of such events that has done nothing yet, and its view."""
    ProjectionTracking.objects.all().delete()
    view = _View("projection")
    return _Doing(view), view


def received(events: Sequence[Any]) -> list[ReceivedEvent]:
    """Return events as they are received, the first of which is number 1."""
    return [
        ReceivedEvent(
            Tracking(APP, number),
            Notification(UUID(int=number), 0, "topic", b"", number),
            event,
            None,
        )
        for number, event in enumerate(events, start=1)
    ]


def processed(
    events: Sequence[Event], sizes: Sequence[int] = ()
) -> dict[int, BaseException]:
    """
    Process events, the first of which is number 1.

    Args:
        events: The events.
        sizes: Of the first batches; the rest is one.

    Returns:
        What failed, by number; that is left out.
    """
    (doing, view), policy = projection(), _Skipping()
    processor = BatchProcessor(doing, view, APP, policy=policy)
    events_left = received(events)
    for size in (*sizes, len(events)):
        if events_left:
            processor.process(events_left[:size])
        events_left = events_left[size:]
    assert view.max_tracking_id(APP) == len(events)
    return policy.failed_at


def outcomes(
    model: type[models.Model],
    events: Sequence[Event],
    *,
    begin: Callable[[], Any] = lambda: None,
) -> tuple[list[tuple[Any, ...]], set[int]]:
    """
    Process events one at a time, in a batch, and in two; it has to be the same.

    Args:
        model: Whose rows are compared.
        events: The events, which begin with no rows.
        begin: Makes the rows that are there before.

    Returns:
        The rows' values, and which events have failed.
    """
    found = []
    for sizes in ([1] * len(events), [], [1], [2]):
        # Whatever the model's managers leave out.
        models.QuerySet(model).delete()
        begin()
        failed = set(processed(events, sizes))
        rows = list(models.QuerySet(model).order_by("pk").values_list())
        found.append((rows, failed))
    assert all(each == found[0] for each in found), found
    return found[0]


@contextmanager
def made_tables(*of: type[models.Model]) -> Iterator[None]:
    """Have models' tables within the block."""
    with connection.schema_editor() as editor:
        for model in of:
            editor.create_model(model)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            for model in reversed(of):
                editor.delete_model(model)
