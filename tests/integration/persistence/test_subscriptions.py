from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.persistence import OperationalError, StoredEvent

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.environment import WATCHDOG_INTERVAL
from eventsourcing_eventstoredb.exceptions import (
    ReplacedStoreError,
    UnknownPositionError,
)
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.subscriptions.read_ahead import ReadAhead
from eventsourcing_eventstoredb.subscriptions.receiving import Receiver
from eventsourcing_eventstoredb.subscriptions.state import Phase, StateCell
from eventsourcing_eventstoredb.subscriptions.subscription import (
    EventStoreDBSubscription,
)
from eventsourcing_eventstoredb.subscriptions.watchdog import Watchdog
from tests.support.event_stores import EventStore
from tests.support.proxy import Proxy

# Seconds of silence after which these tests' subscriptions grow suspicious.
INTERVAL = 0.4


@contextmanager
def connected(
    uri: str, interval: float = INTERVAL
) -> Iterator[EventStoreDBApplicationRecorder]:
    client = Client(parse_connection(uri))
    try:
        yield EventStoreDBApplicationRecorder(client, watchdog_interval=interval)
    finally:
        client.close()


@pytest.fixture
def recorder(server: EmbeddedServer) -> Iterator[EventStoreDBApplicationRecorder]:
    """A recorder whose subscriptions let a busy server take its time."""
    with connected(server.uri, WATCHDOG_INTERVAL) as recorder:
        yield recorder


def save(
    recorder: EventStoreDBApplicationRecorder, count: int = 1, topic: str = "topic"
) -> int:
    originator_id = uuid4()
    events = [
        StoredEvent(originator_id, version, topic, b"{}") for version in range(count)
    ]
    return (recorder.insert_events(events) or ())[-1]


def all_ids(recorder: EventStoreDBApplicationRecorder) -> list[int]:
    return [n.id for n in recorder.select_notifications(None, 10**6)]


def receive(subscription: EventStoreDBSubscription, until: int) -> list[int]:
    received: list[int] = []
    while not received or received[-1] < until:
        received += [notification.id for notification in subscription.next_batch(100)]
    return received


def wait_for(subscription: EventStoreDBSubscription, phase: Phase) -> None:
    while subscription.state.phase is not phase:
        assert subscription.next_batch(1, timeout=0.01) == []


def test_a_subscription_outlives_the_server(store: EventStore) -> None:
    with (
        connected(store.uri) as recorder,
        recorder.subscribe() as subscription,
        connected(store.uri) as writer,
    ):
        received = receive(subscription, save(writer, 5))
        for stop in (store.kill, store.stop, store.kill):
            stop()
            wait_for(subscription, Phase.DISCONNECTED)
            assert str(subscription.state).startswith("disconnected since ")
            store.start()
            received += receive(subscription, save(writer, 3))

        assert received == all_ids(writer)
        wait_for(subscription, Phase.LIVE)


def test_a_catch_up_that_is_cut_has_no_gap_and_no_repetition(
    server: EmbeddedServer, recorder: EventStoreDBApplicationRecorder
) -> None:
    for _ in range(20):
        last = save(recorder, 500)
    ids = all_ids(recorder)

    received: list[int] = []
    cuts = 0
    with (
        Proxy(server) as proxy,
        connected(proxy.uri, WATCHDOG_INTERVAL) as distant,
        EventStoreDBSubscription(distant, max_events_ahead=400) as subscription,
    ):
        while not received or received[-1] < last:
            received += [n.id for n in subscription.next_batch(300)]
            if len(received) // 1500 > cuts:
                cuts += 1
                proxy.cut()

    assert received == ids
    assert cuts >= 6


def test_a_frozen_server_is_noticed_and_nothing_is_lost(
    store: EventStore,
) -> None:
    with connected(store.uri) as recorder, recorder.subscribe() as subscription:
        received = receive(subscription, save(recorder, 2))
        wait_for(subscription, Phase.LIVE)
        store.freeze()
        wait_for(subscription, Phase.DISCONNECTED)
        store.wake()
        received += receive(subscription, save(recorder, 2))

        assert received == all_ids(recorder)


def test_a_server_that_is_frozen_before_it_confirms_is_noticed(
    store: EventStore,
) -> None:
    with connected(store.uri) as recorder:
        save(recorder)
        store.freeze()

        with pytest.raises(OperationalError):
            recorder.subscribe()


def test_silence_of_a_server_that_has_nothing_is_no_failure(
    server: EmbeddedServer, recorder: EventStoreDBApplicationRecorder
) -> None:
    save(recorder)
    with (
        connected(server.uri, 1.0) as wary,
        wary.subscribe(topics=["mine"]) as subscription,
    ):
        wait_for(subscription, Phase.LIVE)
        before = subscription.state
        # The watchdog passes over the others' event, as it was really read.
        last = save(recorder)
        while (subscription._receiver.position or 0) < last:
            assert subscription.next_batch(1, timeout=0.01) == []

        assert subscription.state is before
        mine = save(recorder, topic="mine")
        assert receive(subscription, mine) == [mine]


def test_a_subscription_that_misses_something_is_dropped(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    """The call is silent though the server answers; a server cannot be made to."""
    log = recorder.all_stream()
    state = StateCell()
    state.enter(Phase.LIVE)
    ahead: ReadAhead[Any] = ReadAhead(10, 10)
    dropped = threading.Event()

    class DeafReceiver(Receiver):
        def drop_call(self) -> None:
            dropped.set()

    receiver = DeafReceiver(log, save(recorder), ahead, state, INTERVAL)
    watchdog = Watchdog(log, receiver, ahead, state, INTERVAL)
    save(recorder)
    watchdog.start()
    dropped.wait()
    watchdog.stop()


def test_a_slow_consumer_is_not_taken_for_a_dead_server(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    last = save(recorder, 20)

    with EventStoreDBSubscription(
        recorder, max_events_ahead=5, watchdog_interval=1.0
    ) as subscription:
        first = subscription.next_batch(1)
        states = set()
        # For several intervals, each of which is long enough for a busy server.
        for _ in range(30):
            states.add(subscription.state.phase)
            threading.Event().wait(0.1)
        rest = receive(subscription, last)

    assert [first[0].id, *rest] == all_ids(recorder)
    assert Phase.DISCONNECTED not in states


def test_a_store_that_was_emptied_meanwhile_ends_the_subscription(
    store: EventStore,
) -> None:
    with connected(store.uri) as recorder, recorder.subscribe() as subscription:
        received = receive(subscription, save(recorder, 50))
        store.stop()
        store.lose_events()
        store.start()

        with pytest.raises(UnknownPositionError, match=f"position {received[-1]}"):
            while True:
                assert subscription.next_batch(10) == []
        assert subscription.state.phase is Phase.FAILED


@pytest.mark.parametrize("received", [0, 3])
def test_a_store_with_other_events_at_the_same_positions_ends_the_subscription(
    store: EventStore, tmp_path: Path, received: int
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = EventStore(folder)
    other.start()
    with connected(other.uri) as recorder:
        save(recorder, 9)
    other.stop()
    with connected(store.uri) as recorder:
        save(recorder, 3)
        ids = all_ids(recorder)
        begun_behind = None if received else ids[-1]
        with recorder.subscribe(gt=begun_behind) as subscription:
            assert len(receive(subscription, ids[-1]) if received else []) == received
            store.stop()
            store.take_events(other)
            store.start()

            with pytest.raises(ReplacedStoreError, match=f"position {ids[-1]} is an"):
                while True:
                    assert subscription.next_batch(10) == []
            assert subscription.state.phase is Phase.FAILED


def test_what_was_read_ahead_is_handed_out_before_an_error(
    server: EmbeddedServer, recorder: EventStoreDBApplicationRecorder
) -> None:
    ids = [save(recorder) for _ in range(3)]

    with recorder.subscribe() as subscription:
        while len(subscription._ahead._items) < 3:
            pass
        recorder.client.close()
        while subscription.state.phase is not Phase.FAILED:
            pass
        assert [n.id for n in subscription.next_batch(9)] == ids
        with pytest.raises(OperationalError, match="client was closed"):
            subscription.next_batch(9)


def subscription_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("eventstoredb-")]


def test_a_forgotten_subscription_ends_its_threads(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    others = subscription_threads()
    subscription = recorder.subscribe()
    started = [t for t in subscription_threads() if t not in others]
    # The scheduler's may have been there.
    assert started

    del subscription
    gc.collect()
    for thread in started:
        thread.join()


def test_client_that_fails_to_subscribe_leaves_no_threads(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    others = subscription_threads()
    with pytest.raises(UnknownPositionError):
        recorder.subscribe(gt=10**9)

    for thread in subscription_threads():
        if thread not in others:
            thread.join()


def test_a_subscription_that_failed_ends_its_threads(server: EmbeddedServer) -> None:
    others = subscription_threads()
    with connected(server.uri, 2.0) as recorder:
        subscription = recorder.subscribe()

    for thread in subscription_threads():
        if thread not in others:
            thread.join()
    with pytest.raises(OperationalError):
        subscription.next_batch(1)


def test_calls_that_are_broken_off_leave_nothing_behind(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    def drop() -> None:
        subscription._receiver.drop_call()
        save(recorder)
        assert subscription.next_batch(10, timeout=30)

    def read_a_part() -> None:
        notifications = log.notifications(None, first_page=1)
        next(notifications)
        notifications.close()  # type: ignore[attr-defined]

    def calls() -> int:
        """Return how many calls gRPC knows of."""
        gc.collect()
        kinds = [type(each).__name__ for each in gc.get_objects()]
        return kinds.count("_CallState")

    log = recorder.all_stream(())
    save(recorder, count=3)
    with recorder.subscribe() as subscription:
        assert isinstance(subscription, EventStoreDBSubscription)
        for break_off in (drop, read_a_part):
            break_off()
            before = calls()
            for _ in range(20):
                break_off()
            assert calls() - before < 10, break_off
