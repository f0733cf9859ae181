from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from uuid import UUID, uuid4

import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import (
    DataError,
    InfrastructureFactoryError,
    IntegrityError,
    ProgrammingError,
    StoredEvent,
)
from eventsourcing.utils import get_topic

from eventsourcing_eventstoredb import EventStoreDBFactory
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBAggregateRecorder,
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.streams.mapping import Layout
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamState,
)
from tests.support.counters import CounterFromOne
from tests.support.running_stores import own_prefix

SOME = "0a3f5c1e-8a52-4b1c-9d42-6f1f0e1a2b3c"

MakeRecorder = Callable[..., EventStoreDBApplicationRecorder]


@pytest.fixture
def make(server: EmbeddedServer) -> Iterator[MakeRecorder]:
    with EventStoreDBClient(server.uri) as client:

        def make(
            prefix: str = "", first_version: int = 0, id_type: type | None = None
        ) -> EventStoreDBApplicationRecorder:
            return EventStoreDBApplicationRecorder(
                client,
                originator_id_type=id_type,
                layout=Layout(own_prefix(server, prefix), first_version),
            )

        yield make


def stored(
    originator_id: UUID | str, first: int, count: int, topic: str = "topic"
) -> list[StoredEvent]:
    return [
        StoredEvent(originator_id, version, topic, b"{}")
        for version in range(first, first + count)
    ]


def ids(recorder: EventStoreDBApplicationRecorder, *topics: str) -> list[UUID | str]:
    return [
        n.originator_id for n in recorder.select_notifications(None, 99, topics=topics)
    ]


def append(
    client: EventStoreDBClient, stream: str, type_: str, metadata: bytes = b""
) -> None:
    client.append_events(
        stream,
        current_version=StreamState.ANY,
        events=[NewEvent(type_, b"\xff\x00", metadata, "application/octet-stream")],
    )


def test_prefixed_applications_see_their_own_streams_only(make: MakeRecorder) -> None:
    school, kennel, plain = make("school"), make("school_2"), make()
    id1, id2, id3 = uuid4(), uuid4(), uuid4()
    school.insert_events(stored(id1, 0, 1))
    kennel.insert_events(stored(id2, 0, 1))
    plain.insert_events(stored(id3, 0, 1))
    # The same ID in another application is another aggregate.
    [last] = school.insert_events(stored(id3, 0, 1, "other")) or ()

    assert ids(school) == [id1, id3]
    assert ids(school, "other") == [id3]
    assert ids(kennel) == [id2]
    assert ids(plain) == [id3]
    assert school.max_notification_id() == last
    assert plain.max_notification_id() != last
    assert [e.topic for e in school.select_events(id3)] == ["other"]
    with kennel.subscribe() as subscription:
        [notification] = subscription.next_batch(9)
        assert notification.originator_id == id2
    stream = f"{school.layout.prefix}-{id1}"
    assert len(school.client.get_stream(stream)) == 1


def test_prefix_keeps_string_ids_apart(make: MakeRecorder) -> None:
    school = make("school", id_type=str)
    school.insert_events(stored("dog-1", 0, 1))
    append(school.client, "dog-2", "topic")
    append(school.client, school.layout.prefix, "topic")
    append(school.client, f"{school.layout.prefix}s-1", "topic")

    assert ids(school) == ["dog-1"]


def test_prefixed_snapshots_have_streams_of_their_own(make: MakeRecorder) -> None:
    school = make("school")
    client = school.client
    snapshots = EventStoreDBAggregateRecorder(client, True, layout=school.layout)
    originator_id = uuid4()
    snapshots.insert_events(stored(originator_id, 7, 1))

    assert [e.originator_version for e in snapshots.select_events(originator_id)] == [7]
    stream = f"snapshot-${school.layout.prefix}-{originator_id}"
    assert len(client.get_stream(stream)) == 1
    assert ids(make("school")) == []
    assert ids(make("snapshot", id_type=str)) == []


@pytest.mark.parametrize("id_type", [None, UUID, str])
def test_nothing_of_others_raises(make: MakeRecorder, id_type: type | None) -> None:
    """Binary, metadata, link, system and deleted events, and foreign streams."""
    recorder = make(id_type=id_type)
    client, stream_name = recorder.client, recorder.layout.stream_name
    append(client, stream_name(uuid4()), "other-app:Binary", b"\xfe{not json")
    append(client, stream_name(uuid4()), "$>")
    append(client, "$stats", "statistics")
    orders = stream_name("Orders-7")
    append(client, orders, "OrderPlaced")
    client.set_stream_metadata(orders, metadata={"$maxCount": 1})
    deleted = stream_name(uuid4())
    append(client, deleted, "Gone")
    client.delete_stream(deleted, current_version=StreamState.ANY)
    buried = stream_name(uuid4())
    append(client, buried, "Gone")
    client.tombstone_stream(buried, current_version=StreamState.ANY)

    selected = recorder.select_notifications(None, 99)

    topics = [n.topic for n in selected]
    assert topics == (
        ["other-app:Binary", "OrderPlaced", "Gone", "Gone"]
        if id_type is str
        else ["other-app:Binary", "Gone", "Gone"]
    )
    assert recorder.max_notification_id() == selected[-1].id
    with recorder.subscribe() as subscription:
        received = [next(subscription) for _ in selected]
    assert received == selected


@pytest.mark.parametrize("prefix", ["a-b", "a b", "ä", "$a", "a.b", "a\n"])
def test_prefix_with_other_characters_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        Layout(prefix)


def test_first_version_1_lies_at_position_0(make: MakeRecorder) -> None:
    recorder = make(first_version=1)
    originator_id = uuid4()
    recorder.insert_events(stored(originator_id, 1, 3))
    recorder.insert_events(stored(originator_id, 4, 1))

    def versions(**bounds: int | bool) -> list[int]:
        found = recorder.select_events(originator_id, **bounds)  # type: ignore[arg-type]
        return [event.originator_version for event in found]

    assert versions() == [1, 2, 3, 4]
    assert versions(gt=0) == [1, 2, 3, 4]
    assert versions(gt=1) == [2, 3, 4]
    assert versions(lte=0) == []
    assert versions(lte=2) == [1, 2]
    assert versions(gt=1, lte=3, desc=True) == [3, 2]
    assert versions(desc=True, limit=1) == [4]
    assert versions(lte=1, desc=True, limit=9) == [1]
    selected = recorder.select_notifications(None, 9)
    assert [n.originator_version for n in selected] == [1, 2, 3, 4]
    first, *_ = recorder.client.get_stream(recorder.layout.stream_name(originator_id))
    assert first.stream_position == 0
    assert first.metadata == b'{"originator_version": 1}'
    with pytest.raises(IntegrityError):
        recorder.insert_events(stored(originator_id, 4, 1))
    with pytest.raises(IntegrityError, match="the lowest is 1"):
        recorder.insert_events(stored(uuid4(), 0, 1))


@pytest.mark.own_store("it is about streams without a prefix")
def test_version_that_is_missing_or_different_is_an_error(make: MakeRecorder) -> None:
    from_0, from_1 = make(first_version=0), make(first_version=1)
    originator_id, another_id = uuid4(), uuid4()
    from_0.insert_events(stored(originator_id, 0, 1))
    another_stream = from_1.layout.stream_name(another_id)
    append(from_1.client, another_stream, "topic", b'{"originator_version": 9}')

    with pytest.raises(DataError, match=r"no originator_version.*should have 1"):
        from_1.select_events(originator_id)
    with pytest.raises(DataError, match=r"originator_version 9.*should have 1"):
        from_1.select_events(another_id)
    # Without topics these may be another application's, whose class is unknown.
    assert from_1.select_notifications(None, 9) == []
    with pytest.raises(DataError, match="EVENTSTOREDB_FIRST_VERSION"):
        from_1.select_notifications(None, 9, topics=["topic"])
    subscription = from_1.subscribe(topics=["topic"])
    with subscription, pytest.raises(DataError):
        next(subscription)


def test_an_event_of_a_known_class_is_not_taken_for_anothers(
    make: MakeRecorder,
) -> None:
    recorder = make(first_version=1)
    stream = recorder.layout.stream_name(uuid4())
    append(recorder.client, stream, get_topic(CounterFromOne.Created))

    with pytest.raises(DataError):
        recorder.select_notifications(None, 9)


def test_application_at_version_1_needs_a_setting_only(server: EmbeddedServer) -> None:
    env = {
        "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
        "EVENTSTOREDB_URI": server.uri,
    }
    with (
        closing(Application(env=env)) as application,
        pytest.raises(IntegrityError, match="EVENTSTOREDB_FIRST_VERSION=1"),
    ):
        application.save(CounterFromOne())

    env |= {
        "EVENTSTOREDB_FIRST_VERSION": "1",
        "EVENTSTOREDB_STREAM_PREFIX": own_prefix(server, "counters"),
        "IS_SNAPSHOTTING_ENABLED": "y",
    }
    with closing(Application(env=env)) as application:
        counter = CounterFromOne()
        counter.increase()
        application.save(counter)
        application.take_snapshot(counter.id)
        counter.increase()
        application.save(counter)
        loaded = application.repository.get(counter.id)
        earlier = application.repository.get(counter.id, version=2)
    assert (loaded.version, loaded.total) == (3, 2)
    assert (earlier.version, earlier.total) == (2, 1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("EVENTSTOREDB_STREAM_PREFIX", "a-b"),
        ("EVENTSTOREDB_FIRST_VERSION", "2"),
        ("EVENTSTOREDB_SNAPSHOT_MAX_COUNT", "0"),
        ("EVENTSTOREDB_SNAPSHOT_MAX_COUNT", "two"),
        ("EVENTSTOREDB_WATCHDOG_INTERVAL", "0"),
        ("EVENTSTOREDB_WATCHDOG_INTERVAL", "soon"),
    ],
)
def test_setting_that_cannot_be_used_is_refused(key: str, value: str) -> None:
    env = {"EVENTSTOREDB_URI": "esdb://localhost?Tls=false", key: value}

    with pytest.raises(InfrastructureFactoryError, match=f"{key} is '{value}'"):
        EventStoreDBFactory(env)


@pytest.mark.parametrize(
    ("prefix", "originator_id"),
    [
        ("", "$dog"),
        ("", "$$dog"),
        ("", "snapshot-$dog"),
        ("snapshot", "$dog"),
    ],
)
def test_ids_that_notifications_would_hide_are_refused(
    make: MakeRecorder, prefix: str, originator_id: str
) -> None:
    recorder = EventStoreDBApplicationRecorder(
        make().client, originator_id_type=str, layout=Layout(prefix)
    )
    plain = EventStoreDBAggregateRecorder(recorder.client, layout=recorder.layout)

    for each in (recorder, plain):
        with pytest.raises(ProgrammingError, match="which notifications pass over"):
            each.insert_events(stored(originator_id, 0, 1))

    assert recorder.select_events(originator_id) == []


@pytest.mark.parametrize("prefix", ["", "school"])
@pytest.mark.parametrize("id_type", [None, UUID])
@pytest.mark.parametrize("originator_id", ["dog", SOME.upper(), SOME.replace("-", "")])
def test_texts_that_are_not_known_to_be_ids_are_refused(
    make: MakeRecorder, prefix: str, id_type: type | None, originator_id: str
) -> None:
    """Notifications pass over streams that are not named by UUIDs then."""
    recorder = make(prefix, id_type=id_type)

    with pytest.raises(ProgrammingError, match="ORIGINATOR_ID_TYPE to text"):
        recorder.insert_events(stored(originator_id, 0, 1))

    assert recorder.select_events(originator_id) == []


def test_uuids_may_be_texts(make: MakeRecorder) -> None:
    recorder = make("", id_type=None)
    originator_id = uuid4()
    recorder.insert_events(stored(str(originator_id), 0, 1))
    assert ids(recorder) == [originator_id]


def test_topics_that_notifications_would_hide_are_refused(make: MakeRecorder) -> None:
    recorder = make("")
    originator_id = uuid4()

    with pytest.raises(ProgrammingError, match="begins with"):
        recorder.insert_events([StoredEvent(originator_id, 0, "$topic", b"{}")])

    assert recorder.select_events(originator_id) == []


@pytest.mark.parametrize("first_version", [0, 1])
@pytest.mark.parametrize(
    ("prefix", "originator_id"),
    [
        ("", "dog$"),
        ("", "snapshot-dog"),
        ("", "Snapshot-$dog"),
        ("school", "$dog"),
        ("school", "snapshot-$dog"),
    ],
)
def test_ids_that_are_taken_are_notified(
    make: MakeRecorder, prefix: str, originator_id: str, first_version: int
) -> None:
    recorder = make(prefix, first_version, id_type=str)

    recorder.insert_events(stored(originator_id, first_version, 1))

    assert ids(recorder) == ids(recorder, "topic") == [originator_id]
    snapshots = EventStoreDBAggregateRecorder(
        recorder.client, for_snapshotting=True, layout=recorder.layout
    )
    snapshots.insert_events(stored(originator_id, first_version, 1))
    assert len(snapshots.select_events(originator_id)) == 1
