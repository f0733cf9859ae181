from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.site import chromium_driver, site_store, strict_browser

__all__ = ["chromium_driver", "site_store", "strict_browser"]


@pytest.fixture
def school(
    embedded_event_store: Any,
    running_projections: Callable[..., AbstractContextManager[None]],
) -> Iterator[None]:
    """The site with everything it needs: event store, database, projection."""
    with running_projections(TrainingSchoolProjection):
        yield
