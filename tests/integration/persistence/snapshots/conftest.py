from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBAggregateRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import EventStoreDBClient
from tests.support.counters import Counter, Counters
from tests.support.running_stores import own_prefix


@pytest.fixture
def env(server: EmbeddedServer) -> dict[str, str]:
    return {
        "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
        "EVENTSTOREDB_URI": server.uri,
        "EVENTSTOREDB_STREAM_PREFIX": own_prefix(server, "counters"),
        "EVENTSTOREDB_TOPIC_ALLOWLIST": Counter.__module__,
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
