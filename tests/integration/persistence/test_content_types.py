"""How events are marked in the store, and that readers take no notice of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.utils import get_topic

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import EventStoreDBClient

JSON = "application/json"
BINARY = "application/octet-stream"
OFF = {"EVENTSTOREDB_CONTENT_TYPE": BINARY}


class Counter(Aggregate):
    INITIAL_VERSION = 0

    def __init__(self, step: float = 1.0) -> None:
        self.step = step
        self.total = 0.0

    @event("Increased")
    def increase(self) -> None:
        self.total += self.step


class EnvelopeCipher:
    """Encrypts to JSON on the outside, as key services do."""

    def __init__(self, environment: object) -> None:
        pass

    def encrypt(self, plaintext: bytes) -> bytes:
        return json.dumps({"data": base64.b64encode(plaintext).decode()}).encode()

    def decrypt(self, ciphertext: bytes) -> bytes:
        return base64.b64decode(json.loads(ciphertext)["data"])


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[EventStoreDBClient]:
    with EventStoreDBClient(server.uri) as client:
        yield client


def application(server: EmbeddedServer, env: dict[str, str]) -> Application[Any]:
    return Application(
        env={
            "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
            "EVENTSTOREDB_URI": server.uri,
            "IS_SNAPSHOTTING_ENABLED": "y",
            **env,
        }
    )


def save(server: EmbeddedServer, env: dict[str, str], step: float = 1.0) -> str:
    """Save two events and a snapshot; return the stream's name."""
    with closing(application(server, env)) as app:
        counter = Counter(step)
        counter.increase()
        app.save(counter)
        app.take_snapshot(counter.id)
        return app.recorder.layout.stream_name(counter.id)  # type: ignore[attr-defined]


def content_types(client: EventStoreDBClient, name: str) -> list[str]:
    return [
        recorded.content_type
        for stream in (name, f"snapshot-${name}")
        for recorded in client.get_stream(stream)
    ]


@pytest.mark.parametrize("env", [{}, {"EVENTSTOREDB_CONTENT_TYPE": JSON}])
def test_events_and_snapshots_that_are_json_say_so(
    server: EmbeddedServer, client: EventStoreDBClient, env: dict[str, str]
) -> None:
    name = save(server, env)

    assert content_types(client, name) == [JSON] * 3
    for recorded in client.get_stream(name):
        assert isinstance(json.loads(recorded.data), dict)
        assert recorded.metadata == b"" or json.loads(recorded.metadata)


@pytest.mark.parametrize(
    "env",
    [
        OFF,
        {"COMPRESSOR_TOPIC": "zlib"},
        {"CIPHER_TOPIC": get_topic(EnvelopeCipher)},
        {"COMPRESSOR_TOPIC": "zlib", "CIPHER_TOPIC": get_topic(EnvelopeCipher)},
    ],
    ids=["off", "compressed", "encrypted", "both"],
)
def test_what_is_compressed_or_encrypted_or_turned_off_is_not(
    server: EmbeddedServer, client: EventStoreDBClient, env: dict[str, str]
) -> None:
    assert content_types(client, save(server, env)) == [BINARY] * 3


def test_the_bytes_decide(server: EmbeddedServer, client: EventStoreDBClient) -> None:
    """JavaScript's parser stops at NaN, so a projection of the store would."""
    # The first event and the snapshot have the step in them.
    name = save(server, {}, float("nan"))

    assert content_types(client, name) == [BINARY, JSON, BINARY]


@pytest.mark.parametrize(("writes", "reads"), [({}, OFF), (OFF, {})])
def test_what_is_written_either_way_is_read_either_way(
    server: EmbeddedServer,
    client: EventStoreDBClient,
    writes: dict[str, str],
    reads: dict[str, str],
) -> None:
    counter = Counter(2.0)
    with closing(application(server, writes)) as app:
        app.save(counter)
        name = app.recorder.layout.stream_name(counter.id)  # type: ignore[attr-defined]
    with closing(application(server, reads)) as app:
        loaded: Counter = app.repository.get(counter.id)
        loaded.increase()
        app.save(loaded)
        app.take_snapshot(counter.id)
    for env in (writes, reads):
        with closing(application(server, env)) as app:
            assert app.repository.get(counter.id).total == 2.0
            topics = [get_topic(Counter.Created), get_topic(Counter.Increased)]
            found = app.recorder.select_notifications(None, 9, topics=topics)
            assert [each.topic for each in found] == topics
            with app.recorder.subscribe(topics=topics) as subscription:
                assert [next(subscription) for _ in found] == found

    assert set(content_types(client, name)) == {JSON, BINARY}


def test_turned_off_it_is_bit_for_bit_what_it_was(
    server: EmbeddedServer, client: EventStoreDBClient
) -> None:
    """Nothing else of an event depends on it."""
    on, off = (client.get_stream(save(server, env)) for env in ({}, OFF))

    def shape(recorded: Any) -> tuple[object, ...]:
        return recorded.type, recorded.metadata, set(json.loads(recorded.data))

    assert [shape(each) for each in on] == [shape(each) for each in off]
