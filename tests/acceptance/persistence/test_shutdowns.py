"""A server that is stopped in order, or killed, ends every call in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import grpc
import pytest
from eventsourcing.persistence import OperationalError, StoredEvent

from eventsourcing_eventstoredb import EventStoreDBFactory, store_deadline
from eventsourcing_eventstoredb.protocol import connections, retrying
from eventsourcing_eventstoredb.protocol.clients import connector_of
from eventsourcing_eventstoredb.recorders import EventStoreDBApplicationRecorder
from tests.support.client_library import (
    EventStoreDBClient,
)
from tests.support.event_stores import EventStore

DOG = uuid4()
SECONDS = 2.0


@pytest.fixture(params=["the factory's", "a plain one"])
def recorder(
    request: pytest.FixtureRequest, store: EventStore
) -> Iterator[EventStoreDBApplicationRecorder]:
    with ExitStack() as stack:
        if request.param == "a plain one":
            client = stack.enter_context(EventStoreDBClient(store.uri))
            yield EventStoreDBApplicationRecorder(client)
            return
        factory = EventStoreDBFactory({"EVENTSTOREDB_URI": store.uri})
        stack.callback(factory.close)
        made = factory.application_recorder()
        assert isinstance(made, EventStoreDBApplicationRecorder)
        yield made


def save(recorder: EventStoreDBApplicationRecorder) -> None:
    recorder.insert_events([StoredEvent(uuid4(), 0, "topic", b"{}")])


def load(recorder: EventStoreDBApplicationRecorder) -> None:
    recorder.select_events(DOG)


def subscribe(recorder: EventStoreDBApplicationRecorder) -> None:
    recorder.subscribe().stop()


def ends_in_time(call: Callable[[Any], None], recorder: Any) -> None:
    """Fail, and do not hang, where a call outlives its deadline."""

    def run() -> None:
        with store_deadline(SECONDS), pytest.raises(OperationalError):
            call(recorder)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it hangs"


def outages(
    store: EventStore,
    recorder: EventStoreDBApplicationRecorder,
    call: Callable[[Any], None],
    *,
    rounds: int,
    idle: float,
) -> None:
    for number in range(rounds):
        with store_deadline(60):
            save(recorder)
        with recorder.subscribe() as subscription:
            if number % 4 == 3:
                store.kill()
            else:
                store.stop()
            time.sleep(idle)
            ends_in_time(call, recorder)
            store.start()
            # It is resumed.
            retrying.wait_for_connection(recorder.client, 60)
            save(recorder)
            received = [next(subscription) for _ in range(2 * number + 2)]
            assert len(received) == 2 * number + 2


CALLS = [save, load, subscribe]


@pytest.mark.parametrize("call", CALLS)
def test_no_call_outlives_an_outage(
    store: EventStore,
    recorder: EventStoreDBApplicationRecorder,
    call: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrying, "PATIENCE", 0.2)
    outages(store, recorder, call, rounds=1, idle=0)


@pytest.mark.slow("twenty restarts each")
@pytest.mark.parametrize("idle", [0, 3], ids=["at once", "later"])
@pytest.mark.parametrize("call", CALLS)
def test_no_call_outlives_twenty_outages(
    store: EventStore,
    recorder: EventStoreDBApplicationRecorder,
    call: Callable[[Any], None],
    idle: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrying, "PATIENCE", 0.2)
    outages(store, recorder, call, rounds=20, idle=idle)


class Hanging:
    """A call that nothing ends but the end of its channel."""

    def __init__(self, is_closed: threading.Event) -> None:
        self._is_closed = is_closed

    def __iter__(self) -> Hanging:
        return self

    def __next__(self) -> Any:
        self._is_closed.wait()
        raise grpc.RpcError

    def cancel(self) -> None:
        pass


@pytest.mark.parametrize("call", CALLS)
def test_a_channel_that_hangs_is_left(
    store: EventStore,
    recorder: EventStoreDBApplicationRecorder,
    call: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as hung:
        monkeypatch.setattr(retrying, "PATIENCE", 0.2)

        def hang(connection: connections.Connection) -> None:
            is_closed = threading.Event()
            connection.companions.append(is_closed.set)
            for name in ("Read", "BatchAppend"):
                monkeypatch.setattr(
                    connection.streams, name, lambda *_, **__: Hanging(is_closed)
                )

        made = connections.Connection.__init__

        def init(self: connections.Connection, *args: Any) -> None:
            made(self, *args)
            hang(self)

        hung.setattr(connections.Connection, "__init__", init)
        connector_of(recorder.client).disconnect()
        ends_in_time(call, recorder)

    save(recorder)
