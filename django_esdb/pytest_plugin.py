"""
Fixtures for pytest, with what ``django_esdb.testing`` has.

Name this module in ``pytest_plugins``, in the ``conftest.py`` at the root of the tests.
It is no entry point, so a project that does not name it pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

# Within fixtures, since django_esdb.testing loads models, and conftest.py may be read
# before the settings.
if TYPE_CHECKING:
    from django_esdb.testing import FixedClock, MemoryEventStore
    from eventsourcing_eventstoredb.server import EmbeddedServer


@pytest.fixture
def memory_event_store() -> Iterator[MemoryEventStore]:
    """An empty event store in memory; see ``testing.memory_event_store``."""
    from django_esdb import testing

    with testing.memory_event_store() as store:
        yield store


@pytest.fixture
def embedded_event_store() -> Iterator[EmbeddedServer]:
    """An empty event store behind a server; see ``testing.embedded_event_store``."""
    from django_esdb import testing

    with testing.embedded_event_store() as server:
        yield server


@pytest.fixture
def running_projections(
    transactional_db: None,
) -> Callable[..., AbstractContextManager[None]]:
    """What runs projections as long as a block takes; see the function of this name."""
    from django_esdb import testing

    return testing.running_projections


@pytest.fixture
def fixed_clock() -> Iterator[FixedClock]:
    """A clock that stands still; see ``testing.fixed_clock``."""
    from django_esdb import testing

    with testing.fixed_clock() as clock:
        yield clock


@pytest.fixture
def fixed_ids() -> Iterator[Callable[[int], UUID]]:
    """Number the IDs of new aggregates; the fixture is ``testing.numbered_id``."""
    from django_esdb import testing

    with testing.fixed_ids():
        yield testing.numbered_id
