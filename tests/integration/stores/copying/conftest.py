from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_esdb.applications.shared import close_applications, get_application
from tests.support import other_stores
from tests.support.animals import STORES, Zoo


@pytest.fixture
def old_store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """The environment of the store to copy from; on SQLite unless a test says more."""
    kind = getattr(request, "param", STORES[0])
    yield from other_stores.empty_store(kind, request, tmp_path)


@pytest.fixture
def target_env(server: Any, settings: Any) -> dict[str, str]:
    settings.ESDB_URI = server.uri
    settings.ESDB_TOPIC_ALLOWLIST = [Zoo.__module__]
    settings.ESDB_ENV = {"PERSISTENCE_MODULE": "eventsourcing_eventstoredb"}
    return settings.ESDB_ENV


@pytest.fixture
def zoo(old_store: dict[str, str], target_env: dict[str, str]) -> Iterator[Zoo]:
    """The application where it was."""
    application = Zoo(old_store)
    yield application
    application.close()


@pytest.fixture
def new_zoo(target_env: dict[str, str]) -> Iterator[Zoo]:
    """The application on EventStoreDB."""
    yield get_application(Zoo)
    close_applications()
