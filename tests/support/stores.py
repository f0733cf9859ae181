"""Writing to an event store past the application that a test looks at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamState,
)
from tests.support.running_stores import own_stream


def append(server: EmbeddedServer, stream: str, topic: str, data: bytes = b"{}") -> int:
    """
    Write an event of whatever form, and return its position.

    Args:
        server: An event store.
        stream: Its name, to which a running store's prefix is added.
        topic: Its type.
        data: Its data.
    """
    client = EventStoreDBClient(server.uri)
    try:
        return client.append_events(
            own_stream(server, stream),
            current_version=StreamState.ANY,
            events=[NewEvent(topic, data)],
        )
    finally:
        client.close()


class Store(Protocol):
    """Whatever listens somewhere."""

    @property
    def uri(self) -> str: ...


@contextmanager
def school_at(server: Store) -> Iterator[TrainingSchool]:
    """The school as another process has it."""
    school = TrainingSchool(
        {
            "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
            "EVENTSTOREDB_URI": server.uri,
        }
    )
    try:
        yield school
    finally:
        school.close()
