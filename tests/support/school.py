"""The school on an event store, and its projection, as tests get them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eventsourcing.persistence import OperationalError

from django_esdb.applications.shared import close_applications, get_application
from django_esdb.registry import Registration, registry
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection


class AwaySchool(TrainingSchool):
    """
    Cannot be made at first, as when the event store is away for a moment.

    Attributes:
        failures: How often it fails from now on.
    """

    name = TrainingSchool.name
    failures = 0

    def __init__(self, env: Any = None) -> None:
        if AwaySchool.failures:
            # A look at how far it is, which comes at any time, uses up none.
            if not threading.current_thread().name.startswith("lag-"):
                AwaySchool.failures -= 1
            raise OperationalError("it is away")
        super().__init__(env)


@pytest.fixture
def school(server: EmbeddedServer, settings: Any) -> Iterator[TrainingSchool]:
    """The school on an empty event store, as web requests get it."""
    settings.ESDB_URI = server.uri
    yield get_application(TrainingSchool)
    close_applications()


@pytest.fixture
def school_projection() -> Registration:
    """The registration of the example's projection."""
    return registry.get(TrainingSchoolProjection.name)


@pytest.fixture
def registration(school_projection: Registration) -> Callable[..., Registration]:
    """Make a registration like the example's, with other classes."""

    def make(**classes: Any) -> Registration:
        return Registration(
            **{
                "projection_class": school_projection.projection_class,
                "application_class": school_projection.application_class,
                "view_class": school_projection.view_class,
                # What fails is to fail at once.
                "retries": 0,
                **classes,
            }
        )

    return make
