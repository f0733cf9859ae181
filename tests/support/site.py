"""The example site with what it needs, as tests get it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from django_esdb.applications import close_applications
from eventsourcing_eventstoredb.server import EmbeddedServer


@pytest.fixture
def site_store(server: EmbeddedServer, settings: Any) -> Iterator[EmbeddedServer]:
    """The event store that the site's settings name."""
    settings.ESDB_URI = server.uri
    yield server
    close_applications()
