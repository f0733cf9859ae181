"""Which snapshot is the latest."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventsourcing_eventstoredb.snapshots import snapshot_streams
from tests.support.at_once import at_once
from tests.support.client_library import EventStoreDBClient, NewEvent, StreamState
from tests.support.counters import (
    Counters,
    CountersAtIntervals,
    saved,
    stream_of,
    versions,
)

LOGGER = "eventsourcing_eventstoredb"


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

    def take(number: int) -> None:
        for version in (number + 1, number + 9):
            app.take_snapshot(counter.id, version=version)

    at_once(take, 8)

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
