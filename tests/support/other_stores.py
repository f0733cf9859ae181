"""Applications on stores of other kinds, as tests get them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environ
import pytest

from django_esdb.applications.shared import close_applications, get_application
from example_project.training_school.application import TrainingSchool
from tests.support import shared_popo
from tests.support.databases import SERVERS, find, new_database

STORES = (
    "popo",
    # What they are does not depend on the database of the read models, nor the reverse.
    pytest.param("sqlite", marks=pytest.mark.any_database),
    pytest.param("postgresql", marks=pytest.mark.any_database),
    "eventsourcing-django",
)


@pytest.fixture(params=STORES)
def library_store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """The environment of an application on an empty store of another kind."""
    yield from empty_store(request.param, request, tmp_path)


def empty_store(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """Yield the environment for an empty store of a kind, for a fixture's time."""
    if kind == "popo":
        yield {"PERSISTENCE_MODULE": "tests.support.shared_popo"}
        shared_popo.forget()
    elif kind == "sqlite":
        yield {
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": str(tmp_path / "events.sqlite3"),
        }
    elif kind == "postgresql":
        found = find(SERVERS[0])
        if not found.url:
            pytest.skip(f"PostgreSQL: {found.report}")
        with new_database(found.url, tmp_path) as url:
            yield postgres_env(url)
    elif importlib.util.find_spec("eventsourcing_django") is None:
        pytest.skip("eventsourcing-django is not installed")
    else:
        # Its tables are in the database under test, which is emptied.
        request.getfixturevalue("transactional_db")
        yield {"PERSISTENCE_MODULE": "eventsourcing_django"}


def postgres_env(url: str) -> dict[str, str]:
    """Return what the library's PostgreSQL module wants to know."""
    parts: dict[str, Any] = environ.Env.db_url_config(url)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(parts["NAME"]),
        "POSTGRES_HOST": str(parts["HOST"]),
        "POSTGRES_PORT": str(parts["PORT"] or 5432),
        "POSTGRES_USER": str(parts["USER"]),
        "POSTGRES_PASSWORD": str(parts["PASSWORD"]),
    }


@pytest.fixture
def school(library_store: dict[str, str], settings: Any) -> Iterator[TrainingSchool]:
    """The school on another store, as web requests get it."""
    settings.ESDB_ENV = {
        f"{TrainingSchool.name.upper()}_{key}": value
        for key, value in library_store.items()
    }
    yield get_application(TrainingSchool)
    close_applications()
