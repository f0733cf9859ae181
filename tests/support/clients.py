"""A client of the test's event store, and what it appends and reads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamState,
    streams_pb2,
)


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[EventStoreDBClient]:
    with EventStoreDBClient(server.uri) as client:
        yield client


def append(client: EventStoreDBClient, stream: str, *events: NewEvent) -> None:
    client.append_events(stream, current_version=StreamState.ANY, events=events)


def event(type_name: str = "T", data: bytes = b"{}") -> NewEvent:
    return NewEvent(type_name, data)


def kinds(call: Iterator[streams_pb2.ReadResp], count: int) -> list[str]:
    return [message.WhichOneof("content") for message in islice(call, count)]
