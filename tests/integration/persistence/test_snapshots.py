"""Snapshots: which one is the latest, and what happens to those that are no use."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import closing
from threading import Barrier, Thread
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import (
    IntegrityError,
    OperationalError,
    ProgrammingError,
    StoredEvent,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsourcing_eventstoredb import max_count, snapshot_streams
from eventsourcing_eventstoredb.recorders import EventStoreDBAggregateRecorder
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import EventStoreDBClient, NewEvent, StreamState
from tests.support.running_stores import own_prefix

LOGGER = "eventsourcing_eventstoredb"


class Counter(Aggregate):
    INITIAL_VERSION = 0
    total = 0

    @event("Increased")
    def increase(self) -> None:
        self.total += 1


class Counters(Application[UUID]):
    is_snapshotting_enabled = True


class CountersAtIntervals(Application[UUID]):
    snapshotting_intervals: ClassVar[dict[type, int]] = {Counter: 10}


@pytest.fixture
def env(server: EmbeddedServer) -> dict[str, str]:
    return {
        "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
        "EVENTSTOREDB_URI": server.uri,
        "EVENTSTOREDB_STREAM_PREFIX": own_prefix(server, "counters"),
        "EVENTSTOREDB_TOPIC_ALLOWLIST": __name__,
    }


@pytest.fixture
def app(env: dict[str, str]) -> Iterator[Counters]:
    with closing(Counters(env)) as app:
        yield app


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[EventStoreDBClient]:
    with EventStoreDBClient(server.uri) as client:
        yield client


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each read of an aggregate's events has returned."""
    counts: list[int] = []
    select = EventStoreDBAggregateRecorder.select_events

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = select(self, *args, **kwargs)
        if not self.for_snapshotting:
            counts.append(len(found))
        return found

    monkeypatch.setattr(EventStoreDBAggregateRecorder, "select_events", counted)
    return counts


def saved(app: Application[UUID], count: int) -> Counter:
    """Save an aggregate whose last version is *count*."""
    counter = Counter()
    for _ in range(count):
        counter.increase()
    app.save(counter)
    return counter


def stream_of(app: Application[UUID], counter: Counter) -> str:
    assert app.snapshots is not None
    layout = app.snapshots.recorder.layout  # type: ignore[attr-defined]
    return str(layout.snapshots_stream_name(counter.id))


def versions(client: EventStoreDBClient, stream: str) -> list[int]:
    return [
        json.loads(recorded.metadata)["originator_version"]
        for recorded in client.get_stream(stream)
    ]


def test_an_aggregate_is_made_of_its_snapshot_and_the_events_behind_it(
    app: Counters, read: list[int]
) -> None:
    counter = saved(app, 20)
    app.take_snapshot(counter.id, version=7)
    app.take_snapshot(counter.id, version=18)
    read.clear()

    found = {
        version: app.repository.get(counter.id, version=version).total  # type: ignore[attr-defined]
        for version in (None, 20, 18, 17, 7, 6)
    }

    assert found == {None: 20, 20: 20, 18: 18, 17: 17, 7: 7, 6: 6}
    assert read == [2, 2, 0, 10, 0, 7]


def test_snapshots_are_taken_at_intervals(
    env: dict[str, str], client: EventStoreDBClient, read: list[int]
) -> None:
    with closing(CountersAtIntervals(env)) as app:
        counter = saved(app, 5)
        for _ in range(3):
            for _ in range(6):
                counter.increase()
            app.save(counter)
        read.clear()

        assert app.repository.get(counter.id).total == 23  # type: ignore[attr-defined]

        assert versions(client, stream_of(app, counter)) == [0, 10, 20]
        assert read == [3]


def test_a_snapshot_of_any_earlier_version_is_found(app: Counters) -> None:
    """However many lie behind it: they are read in pages."""
    recorder = app.snapshots.recorder  # type: ignore[union-attr]
    originator_id = uuid4()
    for version in range(0, 60, 2):
        recorder.insert_events([StoredEvent(originator_id, version, "topic", b"{}")])

    for version in range(60):
        [found] = recorder.select_events(originator_id, lte=version, desc=True, limit=1)
        assert found.originator_version == version // 2 * 2
    every = recorder.select_events(originator_id, gt=10, lte=50, desc=True)
    assert [each.originator_version for each in every] == list(range(50, 10, -2))


def test_an_older_one_that_is_taken_at_the_same_moment_hides_no_newer_one(
    app: Counters,
    client: EventStoreDBClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    counter = saved(app, 9)
    app.take_snapshot(counter.id, version=1)
    original = snapshot_streams.read_stream
    others = [8]

    def read_and_be_overtaken(*args: Any, **kwargs: Any) -> Any:
        last = original(*args, **kwargs)
        if kwargs.get("from_leader") and others:
            app.take_snapshot(counter.id, version=others.pop())
        return last

    monkeypatch.setattr(snapshot_streams, "read_stream", read_and_be_overtaken)
    app.take_snapshot(counter.id, version=5)
    others.append(8)
    app.take_snapshot(counter.id, version=9)

    assert versions(client, stream_of(app, counter)) == [1, 8, 8, 9]
    assert "originator_version=5 latest=8" in caplog.text


def test_of_all_that_take_snapshots_at_once_the_newest_one_is_the_last(
    app: Counters, client: EventStoreDBClient
) -> None:
    counter = saved(app, 16)
    ready = Barrier(8)

    def take(number: int) -> None:
        ready.wait()
        for version in (number, number + 8):
            app.take_snapshot(counter.id, version=version)

    threads = [Thread(target=take, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = versions(client, stream_of(app, counter))
    assert found == sorted(found)
    assert found[-1] == 16


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.sampled_from(["", "delete", "truncate", "foreign"])
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_latest_of_those_that_are_there_stays_the_last(
    app: Counters, client: EventStoreDBClient, steps: list[tuple[int, str]]
) -> None:
    """Whatever others did to the stream, which never keeps a snapshot from coming."""
    recorder = app.snapshots.recorder  # type: ignore[union-attr]
    originator_id = uuid4()
    stream = recorder.layout.snapshots_stream_name(originator_id)  # type: ignore[attr-defined]
    newest = -1
    for version, done_by_others in steps:
        recorder.insert_events([StoredEvent(originator_id, version, "topic", b"{}")])
        newest = max(newest, version)
        [last] = recorder.select_events(originator_id, desc=True, limit=1)
        assert last.originator_version == newest
        if done_by_others == "delete":
            client.delete_stream(stream, current_version=StreamState.ANY)
        elif done_by_others == "truncate":
            client.set_stream_metadata(stream, metadata={"$tb": 1_000})
            newest = -1
            client.set_stream_metadata(stream, metadata={"$tb": _next(client, stream)})
        elif done_by_others == "foreign":
            client.append_events(
                stream,
                current_version=StreamState.ANY,
                events=[NewEvent("foreign", b"", content_type="application/json")],
            )
        if done_by_others:
            newest = -1


def _next(client: EventStoreDBClient, stream: str) -> int:
    """Return the position behind a stream's last event, though none can be seen."""
    client.set_stream_metadata(stream, metadata={})
    return len(client.get_stream(stream))


def metadata_of(client: EventStoreDBClient, stream: str) -> dict[str, Any]:
    return dict(client.get_stream_metadata(stream)[0])


def test_a_stream_keeps_so_many_snapshots(
    env: dict[str, str], client: EventStoreDBClient
) -> None:
    with closing(Counters({**env, "EVENTSTOREDB_SNAPSHOT_MAX_COUNT": "2"})) as app:
        counter = saved(app, 9)
        stream = stream_of(app, counter)
        for version in (1, 3, 5, 7):
            app.take_snapshot(counter.id, version=version)

        assert versions(client, stream) == [5, 7]
        metadata, revision = client.get_stream_metadata(stream)
        assert (metadata, revision) == ({"$maxCount": 2}, 0)
        totals = [app.repository.get(counter.id, version=v).total for v in (9, 6, 2)]  # type: ignore[attr-defined]
        assert totals == [9, 6, 2]


def test_what_else_the_metadata_say_is_kept(
    env: dict[str, str], app: Counters, client: EventStoreDBClient
) -> None:
    counter = saved(app, 9)
    stream = stream_of(app, counter)
    app.take_snapshot(counter.id, version=1)
    app.take_snapshot(counter.id, version=2)
    assert metadata_of(client, stream) == {}
    client.set_stream_metadata(stream, metadata={"owner": "Anna", "$maxCount": 50})

    for count in ("1", "3"):
        with closing(Counters({**env, "EVENTSTOREDB_SNAPSHOT_MAX_COUNT": count})) as it:
            it.take_snapshot(counter.id)
        expected = {"owner": "Anna", "$maxCount": int(count)}
        assert metadata_of(client, stream) == expected
    # Without the setting they are left alone.
    app.take_snapshot(counter.id)
    assert metadata_of(client, stream) == {"owner": "Anna", "$maxCount": 3}


def test_a_deleted_stream_is_not_deleted_again(
    env: dict[str, str], client: EventStoreDBClient
) -> None:
    with closing(Counters({**env, "EVENTSTOREDB_SNAPSHOT_MAX_COUNT": "2"})) as app:
        counter = saved(app, 9)
        stream = stream_of(app, counter)
        recorder = app.snapshots.recorder  # type: ignore[union-attr]
        app.take_snapshot(counter.id, version=3)
        client.delete_stream(stream, current_version=StreamState.ANY)
        app.take_snapshot(counter.id, version=1)
        assert versions(client, stream) == [1]

        # A server may say so for a moment after the stream has been begun anew.
        client.set_stream_metadata(stream, metadata={"$tb": 2**63 - 1})
        assert not recorder._max_count._write(stream)  # type: ignore[attr-defined]


def test_others_may_set_the_metadata_meanwhile(
    env: dict[str, str],
    client: EventStoreDBClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = max_count.read_stream
    others = [{"owner": "Anna"}, {"owner": "Bert"}]

    def read_and_be_overtaken(*args: Any, **kwargs: Any) -> Any:
        last = original(*args, **kwargs)
        if others:
            client.set_stream_metadata(stream, metadata=others.pop(0))
        return last

    with closing(Counters({**env, "EVENTSTOREDB_SNAPSHOT_MAX_COUNT": "2"})) as app:
        counter = saved(app, 3)
        stream = stream_of(app, counter)
        monkeypatch.setattr(max_count, "read_stream", read_and_be_overtaken)
        app.take_snapshot(counter.id)

    assert metadata_of(client, stream) == {"owner": "Bert", "$maxCount": 2}


@pytest.mark.parametrize("data", [b"\xff", b"[1]"])
def test_metadata_that_say_nothing_are_replaced(
    env: dict[str, str], client: EventStoreDBClient, data: bytes
) -> None:
    with closing(Counters({**env, "EVENTSTOREDB_SNAPSHOT_MAX_COUNT": "2"})) as app:
        counter = saved(app, 3)
        stream = stream_of(app, counter)
        client.append_events(
            f"$${stream}",
            current_version=StreamState.NO_STREAM,
            events=[NewEvent("$metadata", data)],
        )
        app.take_snapshot(counter.id)

    assert metadata_of(client, stream) == {"$maxCount": 2}


def test_metadata_that_always_change_are_left_alone(
    env: dict[str, str],
    client: EventStoreDBClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    original = max_count.read_stream

    def read_and_be_overtaken(*args: Any, **kwargs: Any) -> Any:
        last = original(*args, **kwargs)
        client.set_stream_metadata(stream, metadata={"owner": "Anna"})
        return last

    with closing(Counters({**env, "EVENTSTOREDB_SNAPSHOT_MAX_COUNT": "2"})) as app:
        counter = saved(app, 3)
        stream = stream_of(app, counter)
        monkeypatch.setattr(max_count, "read_stream", read_and_be_overtaken)
        app.take_snapshot(counter.id)

    assert metadata_of(client, stream) == {"owner": "Anna"}
    assert "metadata cannot be set" in caplog.text


def test_no_snapshot_is_taken_in_a_tombstoned_stream(
    app: Counters, client: EventStoreDBClient
) -> None:
    counter = saved(app, 3)
    client.tombstone_stream(stream_of(app, counter), current_version=StreamState.ANY)

    with pytest.raises(IntegrityError, match="tombstoned"):
        app.take_snapshot(counter.id)
    assert app.repository.get(counter.id).total == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "warnings", "metadata"),
    [(ProgrammingError, 1, {}), (OperationalError, 2, {"$maxCount": 2})],
)
def test_where_the_metadata_cannot_be_set_the_snapshot_is_taken_all_the_same(
    env: dict[str, str],
    client: EventStoreDBClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[Exception],
    warnings: int,
    metadata: dict[str, Any],
) -> None:
    """And it is tried again, unless the server would refuse it again."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error("the user may not do this")

    with closing(Counters({**env, "EVENTSTOREDB_SNAPSHOT_MAX_COUNT": "2"})) as app:
        counter = saved(app, 3)
        stream = stream_of(app, counter)
        with monkeypatch.context() as patch:
            patch.setattr(max_count, "read_stream", fail)
            app.take_snapshot(counter.id)
            app.take_snapshot(counter.id)
        assert caplog.text.count("metadata cannot be set") == warnings
        assert versions(client, stream) == [3, 3]

        app.take_snapshot(counter.id)
        assert metadata_of(client, stream) == metadata


def test_no_more_than_so_many_streams_are_remembered(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(max_count, "_MOST_REMEMBERED", 2)
    read: list[str] = []
    original = max_count.read_stream

    def counted(client: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        read.append(name)
        return original(client, name, *args, **kwargs)

    monkeypatch.setattr(max_count, "read_stream", counted)
    with closing(Counters({**env, "EVENTSTOREDB_SNAPSHOT_MAX_COUNT": "2"})) as app:
        counters = [saved(app, 1) for _ in range(3)]
        for counter in (*counters, *counters[1:], counters[0]):
            app.take_snapshot(counter.id)

        streams = [f"$${stream_of(app, counter)}" for counter in counters]
    assert read == [*streams, streams[0]]


def corrupt(client: EventStoreDBClient, stream: str, version: int, **of: Any) -> None:
    """Append what is no snapshot that can be read."""
    metadata = b'{"originator_version": %d}' % version
    event_ = {"type": "eventsourcing.domain:Snapshot", "data": b"{", **of}
    client.append_events(
        stream,
        current_version=StreamState.ANY,
        events=[NewEvent(metadata=event_.pop("metadata", metadata), **event_)],
    )


def _state(topic: str, state: Any = None) -> bytes:
    snapshot = {"timestamp": "", "topic": topic, "state": state or {}}
    return json.dumps(snapshot).encode()


@pytest.mark.parametrize(
    "of",
    [
        {"data": b"\xff\x00"},
        {"data": b'{"timestamp": {"_type_": "gone", "_data_": ""}}'},
        {"type": "gone.domain:Snapshot", "data": b"{}"},
        {"data": _state("gone.domain:Counter")},
        {"data": _state(f"{__name__}:Renamed")},
        {"data": _state(f"{__name__}:Counter", "none")},
        {"metadata": b""},
        {"metadata": b"\xff"},
    ],
    ids=[
        "bytes",
        "transcoding",
        "class",
        "module",
        "renamed",
        "state",
        "no version",
        "foreign",
    ],
)
def test_one_that_cannot_be_used_is_passed_over_with_a_warning(
    app: Counters,
    client: EventStoreDBClient,
    read: list[int],
    caplog: pytest.LogCaptureFixture,
    of: dict[str, Any],
) -> None:
    counter = saved(app, 12)
    corrupt(client, stream_of(app, counter), 10, **of)
    read.clear()

    for _ in range(2):
        assert app.repository.get(counter.id).total == 12  # type: ignore[attr-defined]

    assert read == [13, 13]
    [warning] = [each for each in caplog.records if each.name == LOGGER]
    assert warning.levelname == "WARNING"
    assert "is passed over" in warning.getMessage()
    assert f"originator_id='{counter.id}'" in warning.getMessage()
    assert warning.originator_id == f"'{counter.id}'"  # type: ignore[attr-defined]
    assert "gone" not in sys.modules

    # The next one takes its place.
    app.take_snapshot(counter.id, version=11)
    read.clear()
    assert app.repository.get(counter.id).total == 12  # type: ignore[attr-defined]
    assert read == [1]


def _fail(state: dict[str, Any]) -> None:
    raise KeyError("sum")


@pytest.mark.parametrize("upcast", [None, _fail], ids=["missing", "failing"])
def test_so_is_one_that_cannot_be_upcast(
    app: Counters,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    upcast: Any,
) -> None:
    counter = saved(app, 3)
    app.take_snapshot(counter.id)
    monkeypatch.setattr(Counter, "class_version", 2, raising=False)
    if upcast is not None:
        monkeypatch.setattr(
            Counter, "upcast_v1_v2", staticmethod(upcast), raising=False
        )

    assert app.repository.get(counter.id).total == 3  # type: ignore[attr-defined]
    assert "is passed over" in caplog.text

    # The next one is of the class as it is now.
    app.take_snapshot(counter.id, version=2)
    caplog.clear()
    assert app.repository.get(counter.id, version=2).version == 2
    assert not caplog.text


def test_a_snapshot_is_upcast_once_and_used(
    app: Counters, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def upcast(state: dict[str, Any]) -> None:
        state["notes"].append("upcast")

    counter = saved(app, 3)
    counter.notes = ["kept"]  # type: ignore[attr-defined]
    app.snapshots.put([Counter.Snapshot.take(counter)])  # type: ignore[union-attr]
    monkeypatch.setattr(Counter, "class_version", 2, raising=False)
    monkeypatch.setattr(Counter, "upcast_v1_v2", staticmethod(upcast), raising=False)
    read.clear()

    loaded: Any = app.repository.get(counter.id)

    assert loaded.notes == ["kept", "upcast"]
    assert read == [0]


def test_so_is_one_that_was_encrypted_with_another_key(
    env: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """And the events say that the key is wrong."""
    with closing(Counters({**env, "COMPRESSOR_TOPIC": "zlib"})) as app:
        counter = saved(app, 3)
        app.take_snapshot(counter.id)

    with closing(Counters(env)) as app, pytest.raises(ValueError, match="deserialise"):
        app.repository.get(counter.id)

    assert "MapperDeserialisationError" in caplog.text


def test_a_store_that_does_not_answer_is_not_passed_over(
    app: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = saved(app, 3)
    app.take_snapshot(counter.id)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError

    monkeypatch.setattr(snapshot_streams, "read_stream", fail)
    with pytest.raises(ConnectionError):
        app.repository.get(counter.id)
