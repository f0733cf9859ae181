"""How events come in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import (
    Notification,
    Subscription,
)
from eventsourcing.popo import POPOApplicationRecorder
from eventsourcing.projection import ApplicationSubscription

from django_esdb.runner.batches.reader import BatchReason, EventReader
from django_esdb.subscriptions.received import ReceivedEvent
from tests.support.supervising import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Feed(Subscription[Any]):
    """A subscription that a test feeds."""

    def __init__(self) -> None:
        super().__init__(recorder=None)
        self.changed = threading.Condition()
        self.chunks: list[list[Notification]] = []
        self.is_waited_for = False

    def feed(self, *notifications: Notification) -> None:
        with self.changed:
            self.chunks.append(list(notifications))
            self.is_waited_for = False
            self.changed.notify_all()

    def next_batch(self, max_events: int) -> list[Notification]:
        with self.changed:
            self.is_waited_for = not self.chunks
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.chunks or self._has_been_stopped)
            return self.chunks.pop(0) if self.chunks else []

    def __next__(self) -> Notification:
        raise NotImplementedError

    def stop(self) -> None:
        with self.changed:
            super().stop()
            self.changed.notify_all()

    def wait_until_waited_for(self) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.is_waited_for, 30)


class FeedRecorder(POPOApplicationRecorder):
    def __init__(self) -> None:
        super().__init__()
        self.feed = Feed()

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Any:
        return self.feed


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def reader(feed: Feed) -> Iterator[EventReader]:
    app = Application[UUID]({"PERSISTENCE_MODULE": "eventsourcing.popo"})
    app.recorder = FeedRecorder()
    app.recorder.feed = feed
    reader = EventReader(ApplicationSubscription(app), batch_size=5, batch_seconds=60)
    yield reader
    feed.stop()
    reader.close()


def notifications(first: int, count: int, topic: str = "") -> list[Notification]:
    topic = topic or "eventsourcing.domain:Aggregate.Event"
    return [
        Notification(uuid4(), 0, topic, b"{}", number)
        for number in range(first, first + count)
    ]


def numbers(events: list[ReceivedEvent]) -> list[int]:
    return [event.notification.id for event in events]


def test_a_full_batch_is_flushed_by_size(reader: EventReader, feed: Feed) -> None:
    feed.feed(*notifications(1, 7))

    events, reason = reader.take(30)

    assert (numbers(events), reason) == ([1, 2, 3, 4, 5], BatchReason.SIZE)


def test_what_is_there_is_flushed_when_nothing_more_is(
    reader: EventReader, feed: Feed
) -> None:
    feed.feed(*notifications(1, 1))
    feed.wait_until_waited_for()

    events, reason = reader.take(30)

    assert (numbers(events), reason) == ([1], BatchReason.CAUGHT_UP)


def test_a_batch_does_not_wait_longer_than_it_may(
    reader: EventReader, feed: Feed
) -> None:
    class Behind:
        phase = "catching up"

    feed.state = Behind  # type: ignore[attr-defined]
    reader.batch_seconds = 0.01
    feed.feed(*notifications(1, 2))

    events, reason = reader.take(30)

    assert (numbers(events), reason) == ([1, 2], BatchReason.AGE)


def test_an_undecodable_event_comes_alone(reader: EventReader, feed: Feed) -> None:
    feed.feed(
        *notifications(1, 2), *notifications(3, 1, "gone:Event"), *notifications(4, 1)
    )
    feed.wait_until_waited_for()

    taken = [reader.take(30) for _ in range(3)]

    assert [numbers(events) for events, _ in taken] == [[1, 2], [3], [4]]
    assert [events[0].error is None for events, _ in taken] == [True, False, True]
    assert taken[0][1] is BatchReason.UNDECODABLE


def test_nothing_in_time_is_idle(reader: EventReader) -> None:
    assert reader.take(0.01) == ([], BatchReason.IDLE)


def test_reasons_are_counted(reader: EventReader, feed: Feed) -> None:
    feed.feed(*notifications(1, 9))
    feed.wait_until_waited_for()
    for _ in range(2):
        reader.take(30)

    assert reader.batch_reasons == {BatchReason.SIZE: 1, BatchReason.CAUGHT_UP: 1}


def test_a_batch_is_bounded_in_bytes(reader: EventReader, feed: Feed) -> None:
    state = b"{" + b" " * (7 << 20) + b"}"
    large = [replace(each, state=state) for each in notifications(1, 4)]
    feed.feed(*large)

    taken = [numbers(reader.take(30)[0]) for _ in range(2)]

    assert taken == [[1, 2, 3], [4]]
    assert reader.batch_reasons[BatchReason.BYTES] == 1


def test_larger_batches_have_more_read_ahead(reader: EventReader, feed: Feed) -> None:
    buffer: Any = reader._buffer
    for first in range(1, 200, 5):
        feed.feed(*notifications(first, 5))
    reader.batch_size = 20
    taken: list[int] = []
    # On a busy machine a batch may be over before it has all of its events.
    while len(taken) < 20:
        taken += numbers(reader.take(30)[0])
    assert taken == list(range(1, len(taken) + 1))
    wait_until(lambda: buffer.is_full and len(buffer._items) >= 40)
    assert len(buffer._items) <= 45

    reader.batch_size = 5
    while len(taken) < 120:
        taken += numbers(reader.take(30)[0])
    assert taken == list(range(1, len(taken) + 1))
    # What was there is taken, and no more has come than fits for batches of five.
    wait_until(lambda: buffer.is_full and len(buffer._items) <= 15)


def test_reading_ahead_is_bounded(reader: EventReader, feed: Feed) -> None:
    for first in range(1, 100, 5):
        feed.feed(*notifications(first, 5))
    events, _ = reader.take(30)
    buffer: Any = reader._buffer
    while not buffer.is_full:
        time.sleep(0.001)
    ahead = len(buffer._items)

    assert numbers(events) == [1, 2, 3, 4, 5]
    assert ahead <= 15
    assert feed.chunks


def test_an_error_of_the_subscription_comes_after_its_events(
    feed: Feed, reader: EventReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(max_events: int) -> list[Notification]:
        raise ZeroDivisionError

    feed.feed(*notifications(1, 1))
    feed.wait_until_waited_for()
    monkeypatch.setattr(feed, "next_batch", failing)
    feed.feed(*notifications(2, 1))

    taken = []
    with pytest.raises(ZeroDivisionError):
        for _ in range(3):
            taken += numbers(reader.take(30)[0])
    assert taken == [1, 2]
