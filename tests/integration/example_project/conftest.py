from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from django_esdb.testing import MemoryEventStore
from example_project.training_school.projections import TrainingSchoolProjection


@pytest.fixture
def school(
    memory_event_store: MemoryEventStore,
    running_projections: Callable[..., AbstractContextManager[None]],
) -> Iterator[None]:
    """The site with everything it needs: event store, database, projection."""
    with running_projections(TrainingSchoolProjection):
        yield
