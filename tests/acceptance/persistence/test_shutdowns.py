"""A server that is stopped in order, or killed, ends every call in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

import grpc
import pytest
from eventsourcing.persistence import OperationalError, StoredEvent

from eventsourcing_eventstoredb import EventStoreDBFactory, store_deadline
from eventsourcing_eventstoredb.protocol import batching, connections, retrying
from eventsourcing_eventstoredb.protocol.clients import connector_of
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from tests.support.client_library import EventStoreDBClient
from tests.support.event_stores import EventStore

SECONDS = 2.0


def recorder_of_factory(
    uri: str, name: str, stack: ExitStack
) -> EventStoreDBApplicationRecorder:
    # With another name it has a client of its own.
    factory = EventStoreDBFactory({"EVENTSTOREDB_URI": f"{uri}&ConnectionName={name}"})
    stack.callback(factory.close)
    made = factory.application_recorder()
    assert isinstance(made, EventStoreDBApplicationRecorder)
    return made


def recorder_of_plain_client(
    uri: str, name: str, stack: ExitStack
) -> EventStoreDBApplicationRecorder:
    return EventStoreDBApplicationRecorder(stack.enter_context(EventStoreDBClient(uri)))


MAKERS = [recorder_of_factory, recorder_of_plain_client]


class Caller:
    """Has a connection of its own, over which nothing else goes than its calls."""

    def __init__(self, recorder: EventStoreDBApplicationRecorder) -> None:
        self.recorder = recorder
        self._dog = uuid4()
        self._version = 0

    def succeed(self) -> None:
        """Do something, so that there is a connection, which is idle from then on."""
        self.save_to_existing()

    def save_to_existing(self) -> None:
        event = StoredEvent(self._dog, self._version, "topic", b"{}")
        self.recorder.insert_events([event])
        self._version += 1

    def save_new(self) -> None:
        self.recorder.insert_events([StoredEvent(uuid4(), 0, "topic", b"{}")])

    def load(self) -> None:
        self.recorder.select_events(self._dog)

    def read_all(self) -> None:
        self.recorder.select_notifications(start=None, limit=10)

    def subscribe(self) -> None:
        self.recorder.subscribe().stop()


CALLS: list[Callable[[Caller], None]] = [
    Caller.save_to_existing,
    Caller.save_new,
    Caller.load,
    Caller.read_all,
    Caller.subscribe,
]


def end_in_time(calls: Iterable[Callable[[], None]]) -> None:
    """Call all at once; fail, and do not hang, where one outlives its deadline."""
    errors: list[BaseException] = []

    def run(call: Callable[[], None]) -> None:
        try:
            with store_deadline(SECONDS), pytest.raises(OperationalError):
                call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[call], daemon=True) for call in calls]
    with pytest.MonkeyPatch.context() as impatient:
        impatient.setattr(retrying, "PATIENCE", 0.2)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "it hangs"
    assert errors == []


def outages(
    store: EventStore,
    ends: Callable[[EventStore], None],
    *,
    rounds: int,
    idle: float,
) -> None:
    """Go through outages, each with the first calls of connections that were idle."""
    with ExitStack() as stack:
        callers = [
            (Caller(make(store.uri, f"{make.__name__}-{number}", stack)), call)
            for make in MAKERS
            for number, call in enumerate(CALLS)
        ]
        subscriptions = [
            stack.enter_context(caller.recorder.subscribe())
            for caller, call in callers
            if call is Caller.subscribe
        ]

        def go_on() -> None:
            for caller, _ in callers:
                with store_deadline(60):
                    caller.succeed()
            for subscription in subscriptions:
                for _ in callers:
                    next(subscription)

        go_on()
        for _ in range(rounds):
            ends(store)
            time.sleep(idle)
            end_in_time(partial(call, caller) for caller, call in callers)
            store.start()
            go_on()


ENDS = [EventStore.stop, EventStore.kill]


@pytest.mark.parametrize("ends", ENDS)
def test_no_call_outlives_an_outage(
    store: EventStore,
    ends: Callable[[EventStore], None],
) -> None:
    outages(store, ends, rounds=1, idle=0)


@pytest.mark.slow("twenty restarts each")
@pytest.mark.parametrize("idle", [0, 3], ids=["at once", "later"])
@pytest.mark.parametrize("ends", ENDS)
def test_no_call_outlives_twenty_outages(
    store: EventStore,
    ends: Callable[[EventStore], None],
    idle: float,
) -> None:
    outages(store, ends, rounds=20, idle=idle)


class Hanging:
    """A call that nothing ends but the end of its channel."""

    def __init__(self, is_closed: threading.Event) -> None:
        self._is_closed = is_closed

    def __iter__(self) -> Hanging:
        return self

    def __next__(self) -> Any:
        self._is_closed.wait()
        raise grpc.RpcError

    result = __next__

    def cancel(self) -> None:
        pass


class HangingByteCall:
    """The long call of a channel that hangs: it ends with the channel alone."""

    def __init__(self, channel: Any, *args: Any) -> None:
        self._is_closed = _closed_channels[channel]

    def send(self, message: bytes, *, is_followed: bool = False) -> bool:
        return True

    def serve(self, *args: Any) -> Any:
        self._is_closed.wait()
        return grpc.StatusCode.CANCELLED, "the channel is closed", {}

    def cancel(self) -> None:
        pass


# Whether each channel that hangs is closed.
_closed_channels: WeakKeyDictionary[Any, threading.Event] = WeakKeyDictionary()


@pytest.mark.parametrize("make", MAKERS)
def test_a_channel_that_hangs_is_left(
    store: EventStore,
    make: Callable[[str, str, ExitStack], EventStoreDBApplicationRecorder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ExitStack() as stack, monkeypatch.context() as hung:
        callers = [
            (Caller(make(store.uri, f"hanging-{number}", stack)), call)
            for number, call in enumerate(CALLS)
        ]

        for caller, _ in callers[::2]:
            # Some know already how this server takes saves.
            caller.succeed()

        def hang(connection: connections.Connection) -> None:
            is_closed = threading.Event()
            connection.companions.append(is_closed.set)
            _closed_channels[connection.channel] = is_closed
            for name in ("Read", "BatchAppend"):
                hung.setattr(
                    connection.streams, name, lambda *_, **__: Hanging(is_closed)
                )
            alone = SimpleNamespace(future=lambda *_, **__: Hanging(is_closed))
            hung.setattr(connection.streams, "Append", alone)

        made = connections.Connection.__init__

        def init(self: connections.Connection, *args: Any) -> None:
            made(self, *args)
            hang(self)

        hung.setattr(connections.Connection, "__init__", init)
        hung.setattr(batching, "ByteCall", HangingByteCall)
        for caller, _ in callers:
            connector_of(caller.recorder.client).disconnect()
        end_in_time(partial(call, caller) for caller, call in callers)
        hung.undo()

        for caller, _ in callers:
            caller.succeed()
