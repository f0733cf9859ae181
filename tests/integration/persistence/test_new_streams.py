"""What is asked before an aggregate begins, and what its answer tells."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent

from eventsourcing_eventstoredb import new_streams
from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.mapping import Layout
from eventsourcing_eventstoredb.protocol import calls
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.recorders import EventStoreDBApplicationRecorder
from eventsourcing_eventstoredb.server import EmbeddedServer


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


@pytest.mark.parametrize(
    "make", [lambda: uuid5(NAMESPACE_URL, f"/{uuid4()}"), lambda: f"{uuid4()}-dog"]
)
def test_what_was_made_from_a_name_is_looked_at_once(
    recorder: EventStoreDBApplicationRecorder, reads: list[str], make: type[UUID]
) -> None:
    name = make()
    EventStoreDBApplicationRecorder(recorder.client).insert_events(
        [StoredEvent(name, 0, "topic", b"{}")]
    )
    reads.clear()
    for _ in range(3):
        with pytest.raises(IntegrityError, match="last event is 0"):
            insert(recorder, name)

    assert reads == [f"$${name}"]


def test_no_more_than_so_many_names_are_remembered(
    recorder: EventStoreDBApplicationRecorder,
    reads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(new_streams, "_REMEMBERED_NAMES", 2)
    for name in ("a", "b", "c"):
        insert(EventStoreDBApplicationRecorder(recorder.client), name)
    reads.clear()
    for name in ("a", "b", "c", "b", "c", "a"):
        with pytest.raises(IntegrityError):
            insert(recorder, name)

    assert reads == ["$$a", "$$b", "$$c", "$$a"]


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
    recorder.client.delete_stream(str(name), current_version=2)

    with pytest.raises(
        IntegrityError, match=r"the 1 event .* now lies at position 3 on"
    ):
        insert(recorder, name)
