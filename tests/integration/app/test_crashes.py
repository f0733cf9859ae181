"""Finding the event at which processes end, and whole batches behind it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.persistence import Notification, Tracking

from django_esdb.db.functions import DatabaseTime
from django_esdb.exceptions import EventCrashError
from django_esdb.leases.acquiring import acquire_lease
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import ProjectionTracking, SkippedEvent
from django_esdb.policies import FailurePolicy, OnFailure
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.runner.batches.processor import BatchProcessor
from django_esdb.subscriptions.received import LateEvent, ReceivedEvent

pytestmark = pytest.mark.django_db(transaction=True)

APP = "App"
BATCH = 500


class ProcessEnd(BaseException):
    """Stands for the end of the process: nothing of the processor's runs any more."""


class CrashingProcessor(BatchProcessor):
    """Processes events as a process does that may end at one of them."""

    bad: Collection[int] = ()
    transactions: list[int]

    def _commit(self, events: Sequence[ReceivedEvent]) -> int:
        if any(event.notification.id in self.bad for event in events):
            raise ProcessEnd
        self.transactions.append(len(events))
        return super()._commit(events)


class Counting:
    name = "counting"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        pass


def received(start: int, count: int) -> list[ReceivedEvent]:
    return [
        ReceivedEvent(
            Tracking(APP, number),
            Notification(uuid4(), 0, "topic", b"", number),
            object(),
            None,
        )
        for number in range(start, start + count)
    ]


def received_late(start: int, count: int, bad: int) -> list[ReceivedEvent]:
    """Return events of which one ends the process when it is decoded."""

    def decode(notification: Notification) -> ReceivedEvent:
        if notification.id == bad:
            raise ProcessEnd
        tracking = Tracking(APP, notification.id)
        return ReceivedEvent(tracking, notification, object(), None)

    return [
        LateEvent(each.tracking, each.notification, decode)  # type: ignore[arg-type]
        for each in received(start, count)
    ]


def live(
    bad: int | Collection[int],
    policy: FailurePolicy,
    bad_to_decode: int | None = None,
) -> list[int] | None:
    """Live as a process; return its transactions' sizes, None if it ended early."""
    view = DjangoTrackingRecorder(Counting.name)
    ProjectionTracking.objects.update(leased_until=DatabaseTime(-1), owner="x:1:gone")
    lease = acquire_lease(
        TrackedProjection("default", Counting.name, APP), uuid4().hex, 60
    )
    assert lease is not None
    processor = CrashingProcessor(
        Counting(),  # type: ignore[arg-type]
        view,
        APP,
        lease=lease,
        policy=policy,
    )
    processor.bad = [bad] if isinstance(bad, int) else bad
    processor.transactions = []
    # What the processor catches is not what ends a process.
    processor._blame.falls_on = lambda *args, **options: False  # type: ignore[method-assign]
    position = processor.position or 0
    try:
        while position < 3 * BATCH:
            events = received(position + 1, BATCH)
            if bad_to_decode and processor.is_searching:
                events = received_late(position + 1, BATCH, bad_to_decode)
            processor.process(events)
            position = processor.position or 0
    except ProcessEnd:
        return None
    return processor.transactions


@pytest.mark.parametrize(
    "bad",
    [
        *(1, 64, 500),
        *(
            pytest.param(each, marks=pytest.mark.any_database)
            for each in (2, 63, 250, 499, 777)
        ),
    ],
)
def test_at_most_ten_processes_end_until_the_event_is_given_up(bad: int) -> None:
    DjangoTrackingRecorder(Counting.name).ensure_row(APP)
    policy = FailurePolicy(OnFailure.STOP, retries=0)

    with pytest.raises(EventCrashError) as raised:
        for _ in range(11):
            assert live(bad, policy) is None

    assert raised.value.position == bad
    row = ProjectionTracking.objects.get()
    assert row.position == (bad - 1 or None)
    assert (row.attempted_position, row.attempted_until) == (bad, None)


@pytest.mark.parametrize(
    "bad",
    [
        250,
        *(pytest.param(each, marks=pytest.mark.any_database) for each in (1, 63, 500)),
    ],
)
def test_so_it_is_where_they_end_while_the_event_is_decoded(bad: int) -> None:
    DjangoTrackingRecorder(Counting.name).ensure_row(APP)
    policy = FailurePolicy(OnFailure.SKIP, retries=0)

    ends = 0
    while live(0, policy, bad) is None:
        ends += 1

    assert 3 <= ends <= 10
    assert [each.position for each in SkippedEvent.objects.all()] == [bad]
    assert ProjectionTracking.objects.get().position >= 3 * BATCH


def test_batches_are_whole_again_behind_the_suspects() -> None:
    DjangoTrackingRecorder(Counting.name).ensure_row(APP)
    policy = FailurePolicy(OnFailure.STOP, retries=0)
    assert live(300, policy) is None

    sizes = live(0, policy)

    assert sizes is not None
    # Of the 63 events that were noted when the process ended.
    assert sizes[0] == 8
    assert sizes[-1] == BATCH
    assert len(sizes) <= 12
    row = ProjectionTracking.objects.get()
    assert (row.attempts, row.attempted_position, row.attempted_until) == (
        0,
        None,
        None,
    )


def test_what_is_skipped_since_processes_end_there_is_the_event_alone() -> None:
    DjangoTrackingRecorder(Counting.name).ensure_row(APP)
    policy = FailurePolicy(OnFailure.SKIP, retries=0)

    for _ in range(10):
        sizes = live(77, policy)
        if sizes is not None:
            break

    assert sizes is not None
    assert ProjectionTracking.objects.get().position >= 3 * BATCH


def live_and_skip(bad: Collection[int]) -> None:
    """Live as processes do that know nothing of each other, until one continues."""
    while live(bad, FailurePolicy(OnFailure.SKIP, retries=0)) is None:
        pass


def test_processes_that_end_at_event_after_event_are_an_end_of_skipping(
    settings: Any,
) -> None:
    settings.ESDB_MAX_SKIPPED = 2
    DjangoTrackingRecorder(Counting.name).ensure_row(APP)

    with pytest.raises(EventCrashError, match="more than 2 events in a row have"):
        live_and_skip(range(40, 50))

    row = ProjectionTracking.objects.get()
    assert (row.position, row.skipped_in_a_row) == (41, 2)
    assert [each.position for each in SkippedEvent.objects.all()] == [40, 41]
    with pytest.raises(EventCrashError, match="more than 2 events in a row have"):
        # What starts it again does not start the count again.
        live(range(40, 50), FailurePolicy(OnFailure.SKIP, retries=0))


def test_events_that_succeed_in_between_let_more_processes_end(settings: Any) -> None:
    settings.ESDB_MAX_SKIPPED = 1
    DjangoTrackingRecorder(Counting.name).ensure_row(APP)

    live_and_skip([40, 42, 44])

    row = ProjectionTracking.objects.get()
    assert row.position >= 3 * BATCH
    assert row.skipped_in_a_row == 0
    assert [each.position for each in SkippedEvent.objects.all()] == [40, 42, 44]
