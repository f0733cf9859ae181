"""A client of the test's event store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import EventStoreDBClient


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[EventStoreDBClient]:
    with EventStoreDBClient(server.uri) as client:
        yield client
