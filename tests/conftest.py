from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """An empty event store of the test's own."""
    with EmbeddedServer() as server:
        yield server
