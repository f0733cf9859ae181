"""The example site with what it needs, as tests get it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from django_esdb.applications import close_applications
from django_esdb.registry import registry
from django_esdb.runner import Supervisor
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.projections import TrainingSchoolProjection

Running = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def site_store(server: EmbeddedServer, settings: Any) -> Iterator[EmbeddedServer]:
    """The event store that the site's settings name."""
    settings.ESDB_URI = server.uri
    yield server
    close_applications()


@pytest.fixture
def projecting(site_store: EmbeddedServer, transactional_db: None) -> Running:
    """Runs the projection, in a thread, as long as a block takes."""

    @contextmanager
    def projecting() -> Iterator[None]:
        supervisor = Supervisor(registry.get(TrainingSchoolProjection.name))
        thread = threading.Thread(target=supervisor.run)
        thread.start()
        try:
            yield
        finally:
            supervisor.stop()
            thread.join()

    return projecting


@pytest.fixture
def school(projecting: Running) -> Iterator[None]:
    """The site with everything it needs: event store, database, projection."""
    with projecting():
        yield
