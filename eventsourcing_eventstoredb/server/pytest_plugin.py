"""
A fixture for tests that need an event store of their own.

Name this module in ``pytest_plugins``, in the ``conftest.py`` at the root of the
tests; then any test can ask for ``eventstoredb_server``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventsourcing_eventstoredb.server.embedded import EmbeddedServer


@pytest.fixture
def eventstoredb_server() -> Iterator[EmbeddedServer]:
    """
    An empty event store in memory, on a free port, that is stopped after the test.
    """
    with EmbeddedServer() as server:
        yield server
