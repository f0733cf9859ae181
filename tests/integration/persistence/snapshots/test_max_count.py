"""How many snapshots a stream keeps."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from eventsourcing.persistence import (
    IntegrityError,
    OperationalError,
    ProgrammingError,
)

from eventsourcing_eventstoredb.streams import max_count
from tests.support.client_library import EventStoreDBClient, NewEvent, StreamState
from tests.support.counters import Counters, saved, stream_of, versions


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

        # A server may say so for a moment after the stream has been restarted.
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
