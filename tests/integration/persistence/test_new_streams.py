"""What is asked before an aggregate begins, and what the answer to its save tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.deadlines import store_deadline
from eventsourcing_eventstoredb.protocol import calls, saving
from eventsourcing_eventstoredb.protocol.batching import Batch, BatchCall
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.streams import used_names
from eventsourcing_eventstoredb.streams.mapping import Layout
from tests.support.at_once import at_once
from tests.support.client_library import NewEvent, NotFound, StreamState


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let questions be answered on a busy machine, too."""
    monkeypatch.setattr(used_names, "ASK_SECONDS", 30.0)


@pytest.fixture
def connect(
    server: EmbeddedServer,
) -> Iterator[Callable[[], EventStoreDBApplicationRecorder]]:
    clients: list[Client] = []

    def connect() -> EventStoreDBApplicationRecorder:
        clients.append(Client(parse_connection(server.uri)))
        return EventStoreDBApplicationRecorder(clients[-1], originator_id_type=str)

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def recorder(
    connect: Callable[[], EventStoreDBApplicationRecorder],
) -> EventStoreDBApplicationRecorder:
    return connect()


@pytest.fixture
def other(
    connect: Callable[[], EventStoreDBApplicationRecorder],
) -> EventStoreDBApplicationRecorder:
    """Another process, as far as what it remembers is concerned."""
    return connect()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The streams that are read, by name."""
    read: list[str] = []
    original = calls.start_read

    def start_read(connection: object, request: object, *args: object) -> object:
        identifier = request.options.stream.stream_identifier  # type: ignore[attr-defined]
        read.append(identifier.stream_name.decode())
        return original(connection, request, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(calls, "start_read", start_read)
    return read


def insert(
    recorder: EventStoreDBApplicationRecorder, name: UUID | str, count: int = 1
) -> None:
    first = recorder.layout.first_version
    recorder.insert_events(
        [StoredEvent(name, first + n, "topic", b"{}") for n in range(count)]
    )


def write_and_delete(
    recorder: EventStoreDBApplicationRecorder, name: UUID | str
) -> str:
    """Have a stream deleted after three events of others; return its name."""
    stream = recorder.layout.stream_name(name)
    recorder.client.append_events(
        stream,
        current_version=StreamState.NO_STREAM,
        events=[NewEvent("topic", b"{}") for _ in range(3)],
    )
    recorder.client.delete_stream(stream, current_version=2)
    return stream


@pytest.mark.parametrize(
    "make", [uuid4, lambda: str(uuid4()), lambda: f"dog-{uuid4()}"]
)
def test_nothing_is_read_before_an_aggregate_begins_whose_id_was_just_made(
    recorder: EventStoreDBApplicationRecorder, reads: list[str], make: type[UUID]
) -> None:
    insert(recorder, make())

    assert reads == []


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is sent over the call for all saves."""
    sent: list[object] = []
    begin = BatchCall.begin

    def begin_counted(call: BatchCall, request: Any, seconds: float) -> Batch:
        sent.append(request)
        return begin(call, request, seconds)

    monkeypatch.setattr(BatchCall, "begin", begin_counted)
    return sent


NAMED = [lambda: uuid5(NAMESPACE_URL, f"/{uuid4()}"), lambda: f"{uuid4()}-dog"]


MADE_FROM_NAMES = pytest.mark.parametrize("make", NAMED)


@MADE_FROM_NAMES
def test_the_first_save_of_a_client_asks_over_the_call_of_the_saves_and_no_other_does(
    recorder: EventStoreDBApplicationRecorder,
    reads: list[str],
    batches: list[object],
    make: Callable[[], UUID | str],
) -> None:
    name = make()
    insert(recorder, name)
    assert len(batches) == 2
    batches.clear()

    recorder.insert_events([StoredEvent(name, 1, "topic", b"{}")])
    insert(recorder, make())

    assert len(batches) == 2
    assert reads == []


@MADE_FROM_NAMES
def test_who_has_looked_for_an_aggregate_saves_it_without_a_question(
    recorder: EventStoreDBApplicationRecorder,
    batches: list[object],
    make: Callable[[], UUID | str],
) -> None:
    insert(recorder, uuid4())
    batches.clear()
    name = make()

    assert recorder.select_events(name) == []
    assert len(batches) == 1
    insert(recorder, name)
    assert len(batches) == 2
    assert len(recorder.select_events(name)) == 1
    assert recorder.select_events(name, gt=0) == []
    assert len(batches) == 2


def test_who_looks_for_what_was_just_made_or_does_not_save_asks_nothing(
    recorder: EventStoreDBApplicationRecorder, batches: list[object]
) -> None:
    assert recorder.select_events(f"{uuid4()}-dog") == []
    assert batches == []
    insert(recorder, uuid4())
    batches.clear()

    assert recorder.select_events(uuid4()) == []
    assert recorder.select_events(f"dog-{uuid4()}") == []
    assert batches == []


def test_looking_goes_on_where_the_question_is_refused_and_does_not_ask_again_soon(
    recorder: EventStoreDBApplicationRecorder,
    batches: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    insert(recorder, uuid4())
    batches.clear()

    def refuse(*arguments: object) -> None:
        raise CallError(Reason.ACCESS_DENIED)

    with monkeypatch.context() as patched:
        patched.setattr(saving, "last_position", refuse)
        assert recorder.select_events(f"{uuid4()}-dog") == []
    assert recorder.select_events(f"{uuid4()}-dog") == []
    assert batches == []

    monkeypatch.setattr(used_names, "PAUSE_SECONDS", 0.0)
    used_names.used_names(recorder.client).pause()
    assert recorder.select_events(f"{uuid4()}-dog") == []
    assert len(batches) == 1


def test_a_read_whose_time_is_nearly_over_asks_nothing(
    recorder: EventStoreDBApplicationRecorder, batches: list[object]
) -> None:
    insert(recorder, uuid4())
    batches.clear()

    with store_deadline(used_names.ASK_SECONDS * 0.9), suppress(OperationalError):
        recorder.select_events(f"{uuid4()}-dog")

    assert batches == []


def test_the_names_that_came_first_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(used_names, "MOST_NAMES", 10)
    names = used_names.UsedNames()
    for number in (*range(10), 0, 1):
        names.remember(str(number))
    assert all(str(number) in names for number in range(10))

    names.remember("10")

    assert [number for number in range(11) if str(number) in names] == [*range(2, 11)]


def test_any_thread_may_add_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(used_names, "MOST_NAMES", 100)
    names = used_names.UsedNames()
    with ThreadPoolExecutor(8) as executor:
        for added in [
            executor.submit(lambda: [names.remember(f"{n}") for n in range(2_000)])
            for _ in range(8)
        ]:
            added.result()

    assert "1999" in names
    assert 90 <= sum(f"{n}" in names for n in range(2_000)) <= 100


@MADE_FROM_NAMES
@pytest.mark.parametrize("takes_batches", [None, True, False])
@pytest.mark.own_store("no other client may write meanwhile")
def test_asking_writes_nothing(
    recorder: EventStoreDBApplicationRecorder,
    other: EventStoreDBApplicationRecorder,
    make: Callable[[], UUID | str],
    takes_batches: bool | None,
) -> None:
    name, deleted = make(), make()
    for each in (name, deleted):
        insert(other, each, 2)
    other.client.delete_stream(str(deleted), current_version=1)
    connector = recorder.client.connector  # type: ignore[attr-defined]
    connector.takes_batches = takes_batches
    # A client that has not saved asks when it saves, and others when they look.
    recorder.select_events(deleted)
    end = recorder.client.get_commit_position(filter_exclude=())

    with pytest.raises(
        IntegrityError,
        match=rf"1 event to new stream '{name}': the stream's last event is 1",
    ):
        insert(recorder, name)
    connector.takes_batches = takes_batches
    for _ in range(2):
        with pytest.raises(
            IntegrityError, match=f"'{deleted}' was deleted and its numbering continues"
        ):
            insert(recorder, deleted)

    assert recorder.client.get_commit_position(filter_exclude=()) == end
    with pytest.raises(NotFound):
        recorder.client.get_stream(str(deleted))


def test_a_stream_that_another_process_has_just_deleted_is_not_continued(
    recorder: EventStoreDBApplicationRecorder, other: EventStoreDBApplicationRecorder
) -> None:
    insert(recorder, uuid4())
    name = f"{uuid4()}-dog"
    assert recorder.select_events(name) == []
    insert(other, name)
    with pytest.raises(IntegrityError, match="last event is 0"):
        insert(recorder, name)
    stream = recorder.layout.stream_name(name)
    other.client.delete_stream(stream, current_version=0)

    with pytest.raises(IntegrityError, match="was deleted"):
        insert(recorder, name)

    with pytest.raises(NotFound):
        other.client.get_stream(stream)


def test_who_has_loaded_it_asks_before_it_begins_again(
    recorder: EventStoreDBApplicationRecorder, other: EventStoreDBApplicationRecorder
) -> None:
    insert(recorder, uuid4())
    name = f"{uuid4()}-dog"
    insert(other, name)
    assert len(recorder.select_events(name)) == 1
    stream = recorder.layout.stream_name(name)
    other.client.delete_stream(stream, current_version=0)

    with pytest.raises(IntegrityError, match=r"was deleted .* cannot begin again"):
        insert(recorder, name)

    with pytest.raises(NotFound):
        other.client.get_stream(stream)


def test_of_threads_that_begin_with_one_name_one_succeeds(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    for _ in range(5):
        name = f"{uuid4()}-dog"

        def begins(number: int, name: str = name) -> bool:
            try:
                insert(recorder, name)
            except IntegrityError:
                return False
            return True

        assert sum(at_once(begins, 8)) == 1
        assert len(recorder.select_events(name)) == 1


def test_a_tombstoned_stream_is_said_to_be_one(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    name = f"{uuid4()}-dog"
    stream = recorder.layout.stream_name(name)
    recorder.client.tombstone_stream(stream, current_version=StreamState.ANY)

    with pytest.raises(IntegrityError, match="is tombstoned"):
        insert(recorder, name)


@pytest.mark.parametrize("data", [b"\xff", b"[]", b'{"$tb": "x"}'])
def test_metadata_that_say_nothing_say_nothing_of_a_deletion(
    recorder: EventStoreDBApplicationRecorder, data: bytes
) -> None:
    name = f"{uuid4()}-dog"
    insert(recorder, name)
    recorder.client.append_events(
        f"$${recorder.layout.stream_name(name)}",
        current_version=StreamState.NO_STREAM,
        events=[NewEvent("$metadata", data)],
    )

    with pytest.raises(IntegrityError, match="the stream's last event is 0"):
        insert(recorder, name)


@pytest.mark.parametrize("first_version", [0, 1])
def test_a_deleted_stream_shows_in_the_answer_and_the_error_says_what_lies_there(
    recorder: EventStoreDBApplicationRecorder, first_version: int
) -> None:
    recorder.layout = Layout(first_version=first_version)
    name = uuid4()
    insert(recorder, name, 3)
    recorder.client.delete_stream(str(name), current_version=2)

    with pytest.raises(
        IntegrityError,
        match=rf"'{name}' was deleted and its numbering continues: the 2 events of "
        rf"version {first_version} on now lie at position 3 on",
    ):
        insert(recorder, name, 2)

    written = recorder.client.get_stream(str(name))
    assert [each.stream_position for each in written] == [3, 4]


@MADE_FROM_NAMES
def test_who_has_not_looked_is_told_by_the_answer_and_refused_from_then_on(
    recorder: EventStoreDBApplicationRecorder,
    other: EventStoreDBApplicationRecorder,
    make: Callable[[], UUID | str],
) -> None:
    for each in (recorder, other):
        insert(each, uuid4())
    deleted = make()
    stream = write_and_delete(recorder, deleted)

    with pytest.raises(
        IntegrityError, match=rf"'{stream}' was deleted .* now lies at position 3 on"
    ):
        insert(recorder, deleted)
    # Saving again writes it not once more.
    for each in (recorder, other, recorder):
        with pytest.raises(IntegrityError, match="the stream's last event is 3"):
            insert(each, deleted)

    written = recorder.client.get_stream(stream)
    assert [each.stream_position for each in written] == [3]
    recorder.client.delete_stream(stream, current_version=3)
    for each in (recorder, other, recorder):
        with pytest.raises(IntegrityError, match="cannot begin again"):
            insert(each, deleted)


@pytest.mark.parametrize("make", [uuid4, *NAMED])
def test_an_answer_that_was_lost_is_no_refusal_though_the_stream_was_deleted_before(
    server: EmbeddedServer,
    connect: Callable[[], EventStoreDBApplicationRecorder],
    make: Callable[[], UUID | str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What lies there now is told, as if the first answer had come."""
    recorder = connect()
    insert(recorder, uuid4())
    deleted = make()
    stream = write_and_delete(recorder, deleted)
    lost: list[object] = []
    append = saving.append

    def append_and_lose_the_first_answer(*arguments: Any) -> Any:
        appended = append(*arguments)
        if not lost:
            lost.append(appended)
            raise CallError(Reason.UNAVAILABLE, "connection reset")
        return appended

    monkeypatch.setattr(saving, "append", append_and_lose_the_first_answer)

    with pytest.raises(IntegrityError, match=r"the 2 events .* now lie at position 3"):
        insert(recorder, deleted, 2)

    written = recorder.client.get_stream(stream)
    assert [each.stream_position for each in written] == [3, 4]


def test_so_it_does_where_appends_go_without_batches(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    recorder.client.connector.takes_batches = False  # type: ignore[attr-defined]
    name = uuid4()
    insert(recorder, name, 3)
    stream = recorder.layout.stream_name(name)
    recorder.client.delete_stream(stream, current_version=2)

    with pytest.raises(
        IntegrityError, match=r"the 1 event .* now lies at position 3 on"
    ):
        insert(recorder, name)
