"""Snapshots that cannot be used, and are passed over."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import Any

import pytest
from eventsourcing.utils import get_topic

from eventsourcing_eventstoredb.snapshots import snapshot_streams
from tests.support.client_library import EventStoreDBClient, NewEvent, StreamState
from tests.support.counters import Counter, Counters, saved, stream_of

LOGGER = "eventsourcing_eventstoredb"


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
        {"data": _state(f"{Counter.__module__}:Renamed")},
        {"data": _state(get_topic(Counter), "none")},
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
