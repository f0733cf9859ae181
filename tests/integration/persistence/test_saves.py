from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.protocol import retrying
from eventsourcing_eventstoredb.protocol.batching import BatchCall
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBAggregateRecorder,
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.event_stores import EventStore
from tests.support.proxy import Proxy

Connect = Callable[[str], EventStoreDBApplicationRecorder]


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[Client] = []

    def connect(uri: str) -> EventStoreDBApplicationRecorder:
        clients.append(Client(parse_connection(uri)))
        return EventStoreDBApplicationRecorder(clients[-1])

    yield connect
    for client in clients:
        client.close()


def stored(originator_id: UUID, first: int, count: int) -> list[StoredEvent]:
    return [
        StoredEvent(originator_id, version, "topic", b"{}")
        for version in range(first, first + count)
    ]


class Saving(threading.Thread):
    """A save in a thread, and what became of it."""

    def __init__(
        self, recorder: EventStoreDBAggregateRecorder, events: list[StoredEvent]
    ) -> None:
        super().__init__()
        self._save = lambda: recorder.insert_events(events)
        self.positions: list[int] = []
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.positions = list(self._save() or ())
        except BaseException as error:
            self.error = error


@pytest.mark.parametrize("first", [0, 2], ids=["new stream", "existing stream"])
def test_a_save_whose_answer_was_lost_is_repeated_and_written_once(
    server: EmbeddedServer,
    connect: Connect,
    first: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    witness = connect(server.uri)
    originator_id = uuid4()
    with Proxy(server) as proxy:
        recorder = connect(proxy.uri)
        if first:
            recorder.insert_events(stored(originator_id, 0, first))
        # Nothing is asked first, so that the append alone is on its way.
        saving_name = recorder.layout.stream_name(originator_id)
        recorder.select_events(uuid4())
        hold = threading.Event()
        begin = BatchCall.begin

        def begin_held(call: BatchCall, *arguments: Any) -> Any:
            if not hold.is_set():
                hold.set()
                proxy.hold_answers()
            return begin(call, *arguments)

        monkeypatch.setattr(BatchCall, "begin", begin_held)
        saving = Saving(recorder, stored(originator_id, first, 3))
        while len(witness.select_events(originator_id)) < first + 3:
            pass
        proxy.cut()
        saving.join()

    assert hold.is_set()
    assert saving.error is None
    assert len(witness.client.get_stream(saving_name)) == first + 3
    last = witness.select_notifications(None, 99)[-1].id
    assert saving.positions == [last, last, last]


def test_a_lost_answer_is_no_conflict_when_another_save_came_between(
    server: EmbeddedServer, connect: Connect
) -> None:
    witness = connect(server.uri)
    originator_id = uuid4()
    witness.insert_events(stored(originator_id, 0, 1))
    with Proxy(server) as proxy:
        recorder = connect(proxy.uri)
        recorder.select_events(originator_id)
        proxy.hold_answers()
        saving = Saving(recorder, stored(originator_id, 1, 1))
        while len(witness.select_events(originator_id)) < 2:
            pass
        witness.insert_events(stored(originator_id, 2, 1))
        proxy.cut()
        saving.join()

    assert saving.error is None
    assert len(witness.select_events(originator_id)) == 3


@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_a_save_outlives_a_restart_of_the_server(
    store: EventStore,
    connect: Connect,
    ends: Callable[[EventStore], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a busy machine a process takes its time to start.
    monkeypatch.setattr(retrying, "PATIENCE", 60.0)
    originator_id = uuid4()
    recorder = connect(f"{store.uri}&DefaultDeadline=60")
    recorder.insert_events(stored(originator_id, 0, 1))
    ends(store)
    saving = Saving(recorder, stored(originator_id, 1, 2))
    store.start()
    saving.join()

    assert saving.error is None
    assert len(recorder.select_events(originator_id)) == 3


def test_a_save_outlives_a_server_that_is_frozen_for_a_while(
    store: EventStore, connect: Connect
) -> None:
    recorder = connect(store.uri)
    originator_id = uuid4()
    recorder.select_events(originator_id)
    store.freeze()
    saving = Saving(recorder, stored(originator_id, 0, 2))
    saving.join(timeout=0.3)
    assert saving.is_alive()
    store.wake()
    saving.join()

    assert saving.error is None
    assert len(recorder.select_events(originator_id)) == 2


def test_a_save_that_meets_its_deadline_is_no_conflict(
    store: EventStore, connect: Connect
) -> None:
    recorder = connect(f"{store.uri}&DefaultDeadline=1")
    patient = connect(store.uri)
    originator_id = uuid4()
    recorder.select_events(originator_id)
    store.freeze()

    with pytest.raises(OperationalError):
        recorder.insert_events(stored(originator_id, 0, 1))
    store.wake()

    # The server may carry out what is not waited for any more, or not.
    with suppress(IntegrityError):
        patient.insert_events(stored(originator_id, 0, 1))
    assert len(patient.select_events(originator_id)) == 1


def test_each_save_has_event_ids_of_its_own(
    server: EmbeddedServer, connect: Connect
) -> None:
    """Equal bytes are not the same save: of two, one is a conflict."""
    recorder = connect(server.uri)
    originator_id = uuid4()
    recorder.insert_events(stored(originator_id, 0, 2))

    with pytest.raises(IntegrityError, match="last event is 1"):
        recorder.insert_events(stored(originator_id, 0, 2))


def test_many_concurrent_saves_give_one_winner_each(
    server: EmbeddedServer, connect: Connect
) -> None:
    recorders = [connect(server.uri) for _ in range(4)]
    originator_id = uuid4()

    for version in range(5):
        savings = [
            Saving(recorder, stored(originator_id, version, 1))
            for recorder in recorders
        ]
        for saving in savings:
            saving.join()
        errors = [saving.error for saving in savings if saving.error is not None]
        assert len(errors) == 3
        assert {type(error) for error in errors} == {IntegrityError}

    assert len(recorders[0].select_events(originator_id)) == 5


def test_every_event_of_a_save_has_a_position_to_wait_for(
    server: EmbeddedServer, connect: Connect
) -> None:
    recorder = connect(server.uri)
    positions = recorder.insert_events(stored(uuid4(), 0, 3)) or ()
    ids = [n.id for n in recorder.select_notifications(None, 9)]

    # The last one's, which is reached when all have been processed.
    assert list(positions) == [ids[-1]] * 3
    assert ids == sorted(set(ids))
