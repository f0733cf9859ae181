from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
from eventsourcing.persistence import ProgrammingError, StoredEvent

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.exceptions import UnknownPositionError
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.subscriptions.state import Phase
from eventsourcing_eventstoredb.subscriptions.subscription import (
    EventStoreDBSubscription,
)


@pytest.fixture
def recorder(server: EmbeddedServer) -> Iterator[EventStoreDBApplicationRecorder]:
    client = Client(parse_connection(server.uri))
    yield EventStoreDBApplicationRecorder(client)
    client.close()


def save(
    recorder: EventStoreDBApplicationRecorder,
    count: int,
    *,
    topic: str = "topic",
    state: bytes = b"{}",
) -> list[int]:
    """Save *count* events of a new aggregate and return all their positions."""
    originator_id = uuid4()
    events = [
        StoredEvent(originator_id, version, topic, state) for version in range(count)
    ]
    last = (recorder.insert_events(events) or [0])[-1]
    return [
        n.id
        for n in recorder.select_notifications(None, 10**6)
        if n.originator_id == originator_id and n.id <= last
    ]


def test_batch_has_what_is_there_and_no_more_than_asked_for(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    ids = save(recorder, 25)

    received: list[int] = []
    with recorder.subscribe() as subscription:
        while len(received) < 25:
            batch = subscription.next_batch(10)
            assert 1 <= len(batch) <= 10
            received += [notification.id for notification in batch]
        assert subscription.next_batch(10, timeout=0) == []

    assert received == ids


def test_batch_is_empty_when_time_is_over(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    with recorder.subscribe() as subscription:
        assert subscription.next_batch(10, timeout=0.05) == []
        assert not subscription.is_stopped


def test_batch_is_empty_when_stopped_from_another_thread(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    with recorder.subscribe() as subscription:
        timer = threading.Timer(0.05, subscription.stop)
        timer.start()
        assert subscription.next_batch(10) == []
        assert subscription.is_stopped
        timer.join()


def test_batches_and_iteration_can_be_mixed(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    ids = save(recorder, 9)

    with recorder.subscribe() as subscription:
        received = [next(subscription).id for _ in range(3)]
        received += [n.id for n in subscription.next_batch(2)]
        received += [next(subscription).id for _ in range(4)]

    assert received == ids


def test_batch_of_nothing_is_refused(recorder: EventStoreDBApplicationRecorder) -> None:
    with (
        recorder.subscribe() as subscription,
        pytest.raises(ValueError, match="max_events is 0"),
    ):
        subscription.next_batch(0)


def test_new_event_comes_while_waiting(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    with recorder.subscribe() as subscription:
        for _ in range(3):
            timer = threading.Timer(0.05, save, args=(recorder, 1))
            timer.start()
            assert len(subscription.next_batch(10)) == 1
            timer.join()


def test_a_subscription_knows_when_it_is_live(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    save(recorder, 1)

    subscription = recorder.subscribe()
    with subscription:
        assert subscription.next_batch(10)
        while subscription.state.phase is Phase.CATCHING_UP:
            subscription.next_batch(10, timeout=0.01)
        assert str(subscription.state) == "live"
    assert str(subscription.state) == "stopped"


def test_reading_ahead_keeps_to_its_limit_of_events(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    ids = save(recorder, 50)

    with EventStoreDBSubscription(recorder, max_events_ahead=10) as subscription:
        ahead = subscription._ahead
        received: list[int] = []
        while len(received) < 50:
            batch = subscription.next_batch(50)
            assert len(batch) <= 10
            assert len(ahead._items) <= 10
            received += [notification.id for notification in batch]

    assert received == ids


def test_reading_ahead_keeps_to_its_limit_of_bytes(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    ids = save(recorder, 30, state=b"x" * 1000)

    with EventStoreDBSubscription(recorder, max_bytes_ahead=2500) as subscription:
        received: list[int] = []
        while len(received) < 30:
            batch = subscription.next_batch(50)
            # The one that reaches the limit is the last.
            assert len(batch) <= 3
            received += [notification.id for notification in batch]

    assert received == ids


def test_a_full_buffer_makes_the_server_wait(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    head = recorder.all_stream().head()
    ids: list[int] = []
    for _ in range(10):
        ids += save(recorder, 10, state=b"x" * 100_000)

    with EventStoreDBSubscription(
        recorder, gt=head, max_events_ahead=3
    ) as subscription:
        first = subscription.next_batch(1)
        while not subscription._ahead.is_full:
            pass
        # Nothing more is taken from the connection than what fits.
        assert subscription._receiver.message_count < 12
        rest: list[int] = []
        while len(rest) < 99:
            rest += [notification.id for notification in subscription.next_batch(3)]

    assert [first[0].id, *rest] == ids


@pytest.mark.own_store("no other client may write to it")
def test_passed_over_is_the_last_event_of_others(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    head = recorder.all_stream().head()
    assert recorder.passed_over_position(None, ["mine"]) == head
    [mine] = save(recorder, 1, topic="mine")
    assert recorder.passed_over_position(None, ["mine"]) is None
    assert recorder.passed_over_position(mine, ["mine"]) is None

    others = save(recorder, 3, topic="others")

    assert recorder.passed_over_position(None, ["mine"]) is None
    assert recorder.passed_over_position(mine, ["mine"]) == others[-1]
    assert recorder.passed_over_position(others[-1], ["mine"]) is None
    save(recorder, 1, topic="mine")
    assert recorder.passed_over_position(mine, ["mine"]) is None
    assert recorder.passed_over_position(others[-1], ["mine"]) is None


def test_passed_over_never_claims_what_has_to_be_processed(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    """An event that is written while it looks is not passed over."""
    [after] = save(recorder, 1, topic="mine")
    finished = threading.Event()
    written: list[int] = []

    def write() -> None:
        for number in range(60):
            topic = "mine" if number % 3 == 0 else "others"
            written.extend(save(recorder, 1, topic=topic) if topic == "mine" else ())
            if topic == "others":
                save(recorder, 1, topic=topic)
        finished.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not finished.is_set():
        passed_over = recorder.passed_over_position(after, ["mine"])
        if passed_over is not None:
            found = recorder.select_notifications(
                after, 1, topics=["mine"], inclusive_of_start=False
            )
            assert not found or found[0].id > passed_over
            after = passed_over
    writer.join()
    assert len(written) == 20


def test_position_beyond_the_store_is_refused_before_anything_is_handed_out(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    [*_, last] = save(recorder, 3)
    # However much others write meanwhile.
    beyond = last + 10**12

    with pytest.raises(UnknownPositionError) as raised:
        recorder.subscribe(gt=beyond)

    assert isinstance(raised.value, ProgrammingError)
    assert raised.value.position == beyond
    head = raised.value.head
    assert head is not None
    assert last <= head < beyond
    text = str(raised.value)
    assert f"no event at position {beyond}" in text
    assert f"at position {head}" in text
    assert "Rebuild" in text
    with recorder.subscribe(gt=last) as subscription:
        assert subscription.next_batch(1, timeout=0.05) == []
