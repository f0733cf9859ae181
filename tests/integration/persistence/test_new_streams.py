"""What is asked before an aggregate begins, and what its answer tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Barrier, Thread
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.mapping import Layout
from eventsourcing_eventstoredb.protocol import calls
from eventsourcing_eventstoredb.protocol.batching import Batch, BatchCall
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.recorders import EventStoreDBApplicationRecorder
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import NewEvent, NotFound, StreamState


@pytest.fixture
def recorder(server: EmbeddedServer) -> Iterator[EventStoreDBApplicationRecorder]:
    client = Client(parse_connection(server.uri))
    yield EventStoreDBApplicationRecorder(client)
    client.close()


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


@pytest.mark.parametrize("make", NAMED)
def test_what_was_made_from_a_name_is_asked_for_over_the_call_of_the_saves(
    recorder: EventStoreDBApplicationRecorder,
    reads: list[str],
    batches: list[object],
    make: Callable[[], UUID | str],
) -> None:
    insert(recorder, uuid4())
    assert len(batches) == 1
    batches.clear()

    name = make()
    insert(recorder, name)
    recorder.insert_events([StoredEvent(name, 1, "topic", b"{}")])

    assert len(batches) == 3
    assert reads == []


@pytest.mark.parametrize("make", NAMED)
@pytest.mark.parametrize("takes_batches", [None, True, False])
@pytest.mark.own_store("nobody else may write meanwhile")
def test_asking_writes_nothing(
    recorder: EventStoreDBApplicationRecorder,
    make: Callable[[], UUID | str],
    takes_batches: bool | None,
) -> None:
    name, deleted = make(), make()
    for each in (name, deleted):
        insert(recorder, each, 2)
    recorder.client.delete_stream(str(deleted), current_version=1)
    end = recorder.client.get_commit_position(filter_exclude=())
    recorder.client.connector.takes_batches = takes_batches  # type: ignore[attr-defined]

    with pytest.raises(
        IntegrityError,
        match=rf"1 event to new stream '{name}': the stream's last event is 1",
    ):
        insert(recorder, name)
    for _ in range(2):
        with pytest.raises(
            IntegrityError, match=f"'{deleted}' was deleted and its numbering continues"
        ):
            insert(recorder, deleted)

    assert recorder.client.get_commit_position(filter_exclude=()) == end
    with pytest.raises(NotFound):
        recorder.client.get_stream(str(deleted))


def test_a_stream_that_another_process_has_just_deleted_is_not_continued(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    other = EventStoreDBApplicationRecorder(recorder.client)
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


def test_of_threads_that_begin_with_one_name_one_succeeds(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    for _ in range(5):
        name, ready = f"{uuid4()}-dog", Barrier(8)
        refused: list[IntegrityError] = []

        def begin(name: str, ready: Barrier, refused: list[IntegrityError]) -> None:
            ready.wait()
            try:
                insert(recorder, name)
            except IntegrityError as error:
                refused.append(error)

        threads = [Thread(target=begin, args=(name, ready, refused)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(refused) == 7
        assert len(recorder.select_events(name)) == 1


@given(
    st.lists(
        st.sampled_from(["begin", "append", "delete", "tombstone", "metadata"]),
        max_size=8,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.own_store("nobody else may write meanwhile")
def test_an_aggregate_begins_where_there_never_was_one(
    recorder: EventStoreDBApplicationRecorder, steps: list[str]
) -> None:
    """Whatever others do to the stream; and a refused one leaves nothing behind."""
    name = f"{uuid4()}-dog"
    client, last, is_tombstoned = recorder.client, -1, False
    for step in [*steps, "begin"]:
        if step == "begin":
            if last < 0 and not is_tombstoned:
                insert(recorder, name)
                last = 0
            else:
                before = client.get_commit_position(filter_exclude=())
                with pytest.raises(IntegrityError):
                    insert(recorder, name)
                assert client.get_commit_position(filter_exclude=()) == before
        elif is_tombstoned:
            pass
        elif step == "append" and last >= 0:
            client.append_events(
                name,
                current_version=StreamState.ANY,
                events=[NewEvent("topic", b"{}")],
            )
            last += 1
        elif step == "delete" and last >= 0:
            client.delete_stream(name, current_version=StreamState.ANY)
        elif step == "tombstone":
            client.tombstone_stream(name, current_version=StreamState.ANY)
            is_tombstoned = True
        elif step == "metadata":
            client.set_stream_metadata(name, metadata={"owner": "Anna"})


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
