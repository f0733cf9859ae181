from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.site import site_store

__all__ = ["site_store"]


@pytest.fixture
def school(
    embedded_event_store: Any,
    running_projections: Callable[..., AbstractContextManager[None]],
) -> Iterator[None]:
    """The site with everything it needs: event store, database, projection."""
    with running_projections(TrainingSchoolProjection):
        yield
