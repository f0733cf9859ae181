from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from esdbclient import EventStoreDBClient

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.databases import SQLITE_URL, new_database
from tests.support.projects import Project, example
from tests.support.school import registration, school, school_projection

__all__ = ["registration", "school", "school_projection"]

DATABASE_URL = os.environ.get("DATABASE_URL", SQLITE_URL)

_DATABASE_FIXTURES = {"db", "transactional_db", "project"}


def pytest_report_header() -> str:
    return f"database: {DATABASE_URL.partition(':')[0]}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses a database runs on each of them."""
    for item in items:
        uses = set(getattr(item, "fixturenames", ()))
        if uses & _DATABASE_FIXTURES or item.get_closest_marker("django_db"):
            item.add_marker("database")


@pytest.fixture(scope="session", autouse=True)
def _own_subchannels() -> Iterator[None]:
    """
    Keep clients apart from earlier ones.

    Channels to one address share a connection, and its pause after a failure;
    a server on a free port may get the port of one that is gone.
    """
    construct = EventStoreDBClient._construct_grpc_channel

    def construct_apart(self: Any, target: str, options: Any = ()) -> Any:
        options = (*options, ("grpc.use_local_subchannel_pool", 1))
        return construct(self, target, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventStoreDBClient, "_construct_grpc_channel", construct_apart)
        yield


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """An empty event store of the test's own."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def project(server: EmbeddedServer, tmp_path: Path) -> Iterator[Project]:
    """The example project, migrated, on a new database and an empty store."""
    with new_database(DATABASE_URL, tmp_path) as url:
        yield example(url, server.uri)
