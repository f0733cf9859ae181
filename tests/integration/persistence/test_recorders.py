from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pytest
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    OperationalError,
    PersistenceError,
    ProgrammingError,
    StoredEvent,
)

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.protocol import calls, messages, retrying
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.protocol.errors import client_errors
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBAggregateRecorder,
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.at_once import at_once
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamState,
)
from tests.support.event_stores import EventStore
from tests.support.running_stores import own_stream


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[EventStoreDBClient]:
    client = EventStoreDBClient(server.uri)
    yield client
    client.close()


@pytest.fixture
def recorder(client: EventStoreDBClient) -> EventStoreDBApplicationRecorder:
    return EventStoreDBApplicationRecorder(client)


def events(
    originator_id: UUID | str, count: int, first: int = 0, topic: str = "topic"
) -> list[StoredEvent]:
    return [
        StoredEvent(originator_id, version, topic, b"{}")
        for version in range(first, first + count)
    ]


def stream_of(
    recorder: EventStoreDBAggregateRecorder, originator_id: UUID | str
) -> str:
    return recorder.layout.stream_name(originator_id)


def FastClient(uri: str) -> EventStoreDBClient:
    return Client(parse_connection(uri))


def append(client: EventStoreDBClient, stream: str, type_: str = "topic") -> int:
    return client.append_events(
        stream, current_version=StreamState.ANY, events=[NewEvent(type_, b"{}")]
    )


BOUNDS = (None, -1, 0, 1, 3, 4, 5, 9)


@pytest.mark.parametrize("for_snapshotting", [False, True], ids=["events", "snapshots"])
@pytest.mark.parametrize("desc", [False, True], ids=["ascending", "descending"])
def test_every_combination_of_bounds_selects_the_same_as_a_list(
    client: EventStoreDBClient, desc: bool, for_snapshotting: bool
) -> None:
    recorder = EventStoreDBAggregateRecorder(client, for_snapshotting)
    originator_id = uuid4()
    recorded = events(originator_id, 5)
    if for_snapshotting:
        # Snapshots are taken now and then.
        recorded = [e for e in recorded if e.originator_version in (0, 1, 4)]
        for event in recorded:
            recorder.insert_events([event])
    else:
        recorder.insert_events(recorded)

    for gt, lte, limit in itertools.product(BOUNDS, BOUNDS, (None, 0, 1, 2, 9)):
        expected = [
            event
            for event in recorded
            if (gt is None or event.originator_version > gt)
            and (lte is None or event.originator_version <= lte)
        ]
        if desc:
            expected.reverse()
        selected = recorder.select_events(
            originator_id, gt=gt, lte=lte, desc=desc, limit=limit
        )
        assert selected == expected[:limit], (gt, lte, limit)


def test_snapshot_older_than_the_last_one_is_not_appended(
    client: EventStoreDBClient,
) -> None:
    recorder = EventStoreDBAggregateRecorder(client, for_snapshotting=True)
    originator_id = uuid4()
    recorder.insert_events(events(originator_id, 1, first=3))
    recorder.insert_events(events(originator_id, 1, first=1))

    versions = [e.originator_version for e in recorder.select_events(originator_id)]
    assert versions == [3]


def test_snapshot_without_its_version_is_an_error(client: EventStoreDBClient) -> None:
    recorder = EventStoreDBAggregateRecorder(client, True)
    originator_id = uuid4()
    append(client, recorder.layout.snapshots_stream_name(originator_id))

    with pytest.raises(DataError, match="no originator_version in its metadata"):
        recorder.select_events(originator_id)


def test_saving_two_aggregates_at_once_writes_nothing(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    id1, id2 = uuid4(), uuid4()

    with pytest.raises(ProgrammingError, match="Cannot save 2 aggregates at once"):
        recorder.insert_events([*events(id1, 1), *events(id2, 1)])

    assert recorder.select_events(id1) == recorder.select_events(id2) == []
    assert recorder.max_notification_id() is None


def test_conflict_names_stream_and_versions(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    originator_id = uuid4()
    recorder.insert_events(events(originator_id, 4))

    with pytest.raises(IntegrityError) as raised:
        recorder.insert_events(events(originator_id, 1, first=2))

    text = str(raised.value)
    stream = stream_of(recorder, originator_id)
    assert f"stream '{stream}', expected to be at version 1" in text
    assert "last event is 3" in text


def test_concurrent_saves_of_equal_events_conflict_once(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    originator_id = uuid4()

    def save(number: int) -> str:
        try:
            recorder.insert_events(events(originator_id, 1))
        except IntegrityError:
            return "conflict"
        return "saved"

    assert sorted(at_once(save, 2)) == ["conflict", "saved"]


@pytest.mark.parametrize("version", [StreamState.ANY, 2])
def test_an_aggregate_cannot_begin_again_in_a_deleted_stream(
    recorder: EventStoreDBApplicationRecorder, version: int | StreamState
) -> None:
    originator_id = uuid5(NAMESPACE_URL, f"/dogs/{version}")
    recorder.insert_events(events(originator_id, 3))
    recorder.client.delete_stream(
        stream_of(recorder, originator_id), current_version=version
    )
    before = recorder.max_notification_id()

    assert recorder.select_events(originator_id) == []
    with pytest.raises(IntegrityError, match=str(originator_id)):
        recorder.insert_events(events(originator_id, 1))

    assert recorder.select_events(originator_id) == []
    assert recorder.max_notification_id() == before


def test_a_tombstoned_stream_is_empty_and_takes_nothing(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    originator_id = uuid4()
    recorder.insert_events(events(originator_id, 3))
    stream = stream_of(recorder, originator_id)
    recorder.client.tombstone_stream(stream, current_version=2)

    assert recorder.select_events(originator_id) == []
    with pytest.raises(IntegrityError, match=rf"'{stream}'.*tombstoned"):
        recorder.insert_events(events(originator_id, 1))


def test_metadata_of_a_stream_does_not_keep_it_from_beginning(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    originator_id = uuid4()
    recorder.client.set_stream_metadata(
        stream_of(recorder, originator_id),
        metadata={"$maxCount": 9},
        current_version=StreamState.ANY,
    )

    recorder.insert_events(events(originator_id, 1))

    assert len(recorder.select_events(originator_id)) == 1


def test_notifications_are_the_applications_events_alone(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    client = recorder.client
    append(client, "no-uuid")
    append(client, "$system", "Something")
    ours = uuid4()
    snapshots = EventStoreDBAggregateRecorder(client, for_snapshotting=True)
    snapshots.insert_events(events(ours, 1))
    append(client, f"{{{uuid4()}}}")
    [first] = recorder.insert_events(events(ours, 1)) or ()
    append(client, stream_of(recorder, str(uuid4())), "$>")
    [last] = recorder.insert_events(events(ours, 1, first=1, topic="MySnapshot")) or ()
    append(client, "another-foreign-one")
    client.set_stream_metadata(
        stream_of(recorder, ours),
        metadata={"$maxCount": 9},
        current_version=StreamState.ANY,
    )

    assert [n.id for n in recorder.select_notifications(None, 10)] == [first, last]
    assert recorder.max_notification_id() == last
    with recorder.subscribe(gt=None) as subscription:
        assert [next(subscription).id, next(subscription).id] == [first, last]


def test_many_foreign_events_are_passed_over_page_by_page(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    ours: list[int] = []
    for number in range(3):
        for _ in range(7):
            append(recorder.client, f"foreign-{number}")
        ours += recorder.insert_events(events(uuid4(), 1)) or ()
    append(recorder.client, "foreign-at-the-end")

    for limit in (1, 2, 3, 9):
        selected = recorder.select_notifications(None, limit)
        assert [n.id for n in selected] == ours[:limit]
    selected = recorder.select_notifications(ours[0], 9, inclusive_of_start=False)
    assert [n.id for n in selected] == ours[1:]
    assert recorder.max_notification_id() == ours[-1]


@pytest.mark.parametrize("topic", ["a.b:C", "a(b", "a|b", "[a]", "a$", "ä:Ö", "a b#c"])
def test_topics_match_exactly(
    recorder: EventStoreDBApplicationRecorder, topic: str
) -> None:
    near = ["axb:C", "a", "b", f"{topic}x", f"x{topic}", topic.upper() + "Y"]
    for other in near:
        recorder.insert_events(events(uuid4(), 1, topic=other))
    [wanted] = recorder.insert_events(events(uuid4(), 1, topic=topic)) or ()
    topics = [topic, "never"]

    selected = recorder.select_notifications(None, 9, topics=topics)
    assert [n.id for n in selected] == [wanted]
    with recorder.subscribe(topics=topics) as subscription:
        assert next(subscription).id == wanted


def test_string_ids_are_read_where_the_application_has_them(
    client: EventStoreDBClient,
) -> None:
    texts = EventStoreDBApplicationRecorder(client, originator_id_type=str)
    uuids = EventStoreDBApplicationRecorder(client, originator_id_type=UUID)
    originator_id = uuid4()
    texts.insert_events(events("dog-1", 1))
    texts.insert_events(events(str(originator_id), 1))

    selected = texts.select_notifications(None, 9)
    assert [n.originator_id for n in selected] == ["dog-1", str(originator_id)]
    selected = uuids.select_notifications(None, 9)
    assert [n.originator_id for n in selected] == [originator_id]


def test_position_that_is_none_is_an_error(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    [first] = recorder.insert_events(events(uuid4(), 1)) or ()
    assert recorder.select_notifications(first + 1, 9) == []
    recorder.insert_events(events(uuid4(), 1))

    with pytest.raises(PersistenceError, match="Reading all streams"):
        recorder.select_notifications(first + 2, 9)
    with pytest.raises(PersistenceError, match="Subscribing to all streams"):
        recorder.subscribe(gt=first + 1)


@pytest.mark.parametrize("read", range(0, 40, 3))
@pytest.mark.parametrize("client_class", [EventStoreDBClient, FastClient])
def test_a_read_that_is_cut_short_is_an_error(
    server: EmbeddedServer, client_class: Callable[[str], EventStoreDBClient], read: int
) -> None:
    client = client_class(server.uri)
    originator_id = uuid4()
    recorder = EventStoreDBApplicationRecorder(client)
    recorder.insert_events(events(originator_id, 40))
    request = messages.stream_request(
        own_stream(server, str(originator_id)), None, backwards=False, limit=10**9
    )
    found = calls.read_messages(client, request)
    received = list(itertools.islice(found, read))
    assert len(received) == read

    client.close()

    with pytest.raises(OperationalError), client_errors("Reading"):
        received.extend(found)
    assert len(received) < 40


@pytest.mark.parametrize("read", range(0, 300, 20))
@pytest.mark.parametrize("client_class", [EventStoreDBClient, FastClient])
def test_a_read_is_whole_or_fails_when_another_thread_closes_the_client(
    server: EmbeddedServer, client_class: Callable[[str], EventStoreDBClient], read: int
) -> None:
    client = client_class(server.uri)
    originator_id = uuid4()
    EventStoreDBApplicationRecorder(client).insert_events(events(originator_id, 300))
    request = messages.stream_request(
        own_stream(server, str(originator_id)), None, backwards=False, limit=10**9
    )
    closing = threading.Thread(target=client.close)
    received = 0
    try:
        with client_errors("Reading"):
            for _ in calls.read_messages(client, request):
                if received == read:
                    closing.start()
                received += 1
    except OperationalError:
        assert received < 300
    else:
        assert received == 300
    closing.join()


def test_a_read_by_a_client_without_references_is_whole_or_fails(
    server: EmbeddedServer,
) -> None:
    """The client closes itself when it is collected."""
    client = EventStoreDBClient(server.uri)
    EventStoreDBApplicationRecorder(client, originator_id_type=str).insert_events(
        events("dog-1", 300)
    )
    client.close()

    def read() -> list[StoredEvent]:
        recorder = EventStoreDBApplicationRecorder(EventStoreDBClient(server.uri))
        return list(recorder.select_events("dog-1"))

    assert len(read()) == 300


def test_closing_the_client_ends_a_subscription_with_an_error(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    subscription = recorder.subscribe()
    timer = threading.Timer(0.05, recorder.client.close)
    timer.start()

    with pytest.raises(OperationalError, match="client was closed"):
        next(subscription)
    timer.join()


def test_stopping_from_another_thread_ends_a_waiting_subscription(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    with recorder.subscribe() as subscription:
        timer = threading.Timer(0.05, subscription.stop)
        timer.start()
        assert list(subscription) == []
        timer.join()


@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_a_server_that_has_ended_is_an_operational_error(
    recorder: EventStoreDBApplicationRecorder,
    store: EventStore,
    ends: Callable[[EventStore], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrying, "PATIENCE", 0.2)
    recorder.max_notification_id()
    ends(store)

    for call in (
        lambda: recorder.insert_events(events(uuid4(), 1)),
        lambda: recorder.select_events(uuid4()),
        lambda: recorder.select_notifications(None, 1),
        lambda: recorder.max_notification_id(),
        lambda: recorder.subscribe(),
    ):
        with pytest.raises(OperationalError):
            call()


def test_an_append_that_is_too_large_is_a_data_error(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    originator_id = uuid4()
    # More than any server takes; by default EventStoreDB takes one MiB.
    event = StoredEvent(originator_id, 0, "topic", b"x" * (17 * 1024 * 1024))
    stream = stream_of(recorder, originator_id)

    with pytest.raises(DataError, match=rf"1 event .*'{stream}'"):
        recorder.insert_events([event])

    assert recorder.select_events(originator_id) == []


def test_after_the_last_notification_there_is_nothing_whatever_others_write(
    recorder: EventStoreDBApplicationRecorder,
) -> None:
    [last] = recorder.insert_events(events(uuid4(), 1)) or ()
    append(recorder.client, "foreign")
    snapshots = EventStoreDBAggregateRecorder(recorder.client, for_snapshotting=True)
    snapshots.insert_events(events(uuid4(), 1))

    for inclusive in (True, False):
        assert (
            recorder.select_notifications(last + 1, 9, inclusive_of_start=inclusive)
            == []
        )
    recorder.insert_events(events(uuid4(), 1))
    with pytest.raises(ProgrammingError, match="Reading all streams"):
        recorder.select_notifications(last + 2, 9)


@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
@pytest.mark.parametrize("first", [0, 1])
def test_a_save_connects_a_closed_client_again_as_the_client_does_for_appends(
    recorder: EventStoreDBApplicationRecorder,
    store: EventStore,
    ends: Callable[[EventStore], None],
    first: int,
) -> None:
    originator_id = uuid4()
    recorder.insert_events(events(originator_id, first))
    recorder.client.close()

    recorder.insert_events(events(originator_id, 1, first=first))

    recorder.client.close()
    ends(store)
    with pytest.raises(OperationalError, match="failed to connect"):
        recorder.insert_events(events(originator_id, 1, first=first + 1))
