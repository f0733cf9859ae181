"""Waiting for what a runner of the same process is about to process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from eventsourcing.persistence import Tracking

from django_esdb.exceptions import EventProcessingError, WaitInTransactionError
from django_esdb.registry import Registration
from django_esdb.runner import ProjectionRunner
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

Running = Callable[[type[TrainingSchoolView]], AbstractContextManager[ProjectionRunner]]


@pytest.fixture
def running(school_projection: Registration) -> Running:
    """Runs the school's projection with a view of some class."""

    @contextmanager
    def running(view_class: type[TrainingSchoolView]) -> Iterator[ProjectionRunner]:
        with ProjectionRunner(
            application_class=TrainingSchool,
            projection_class=TrainingSchoolProjection,
            view_class=view_class,
            env=school_projection.env(),
        ) as runner:
            yield runner

    return running


class Held(TrainingSchoolView):
    """Processes no dog before it may."""

    may = threading.Event()

    def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
        self.may.wait(30)
        super().register_dog(dog_id, name, tracking)


@pytest.fixture(autouse=True)
def _hold() -> Iterator[None]:
    Held.may = threading.Event()
    yield
    Held.may.set()


def test_the_database_is_not_asked_over_and_over(
    school: TrainingSchool, running: Running
) -> None:
    last = school.register("Fido")
    with running(Held) as runner, CaptureQueriesContext(connection) as queries:
        timer = threading.Timer(1, Held.may.set)
        timer.start()
        runner.wait(last, timeout=30)
    timer.join()

    # Every tenth of a second it would be thirteen times.
    assert len(queries) <= 4
    assert Dog.objects.get().name == "Fido"


def test_time_is_over_where_nothing_is_processed(
    school: TrainingSchool, running: Running
) -> None:
    last = school.register("Fido")
    with running(Held) as runner:
        with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
            runner.wait(last, timeout=0.2)
        Held.may.set()


def test_who_waits_gets_what_ended_the_processing(
    school: TrainingSchool, running: Running
) -> None:
    class Failing(Held):
        def register_dog(self, *args: Any, **kwargs: Any) -> None:
            self.may.wait(30)
            raise ValueError(args[1])

    last = school.register("Fido")
    with running(Failing) as runner:
        timer = threading.Timer(0.2, Held.may.set)
        timer.start()
        with pytest.raises(EventProcessingError, match="Fido"):
            runner.wait(last, timeout=30)
    timer.join()


def test_who_waits_is_woken_when_another_thread_stops_the_runner(
    school: TrainingSchool, running: Running
) -> None:
    last = school.register("Fido")
    with running(Held) as runner:
        timer = threading.Timer(0.2, runner.stop)
        timer.start()
        runner.wait(last, timeout=30)
        Held.may.set()
    timer.join()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="others see what is new")
def test_within_a_transaction_it_is_refused_at_once(
    school: TrainingSchool, running: Running
) -> None:
    with running(Held) as runner:
        with transaction.atomic():
            # Not before: what processes it holds the lock that this begins with.
            last = school.register("Fido")
            with pytest.raises(WaitInTransactionError):
                runner.wait(last, timeout=30)
        Held.may.set()
