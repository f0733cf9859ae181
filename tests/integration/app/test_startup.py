"""Projections of one process that cannot begin, with others that can."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from django_esdb import signals
from django_esdb.exceptions import ProjectionError
from django_esdb.registry import Registration
from django_esdb.runner import Options, Worker
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import SchoolCounts
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.school import AwaySchool
from tests.support.supervising import SECONDS, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


class Other(TrainingSchoolProjection):
    """Has nothing to do."""

    topics = ("nothing",)


@pytest.fixture
def away(registration: MakeRegistration, monkeypatch: Any) -> Registration:
    """The projection, which cannot begin at first."""
    monkeypatch.setattr(AwaySchool, "failures", 1)
    return registration(application_class=AwaySchool)


class Running(Worker):
    """A worker in a thread."""

    def __init__(self, *registrations: Registration, **options: Any) -> None:
        self.started: list[str] = []
        self.errors: list[ProjectionError] | None = None
        super().__init__(registrations, Options(**options))
        signals.projection_started.connect(self._note_start)
        self.thread = threading.Thread(target=self._keep_errors)

    def _note_start(self, *, projection: str, **kwargs: Any) -> None:
        self.started.append(projection)

    def _keep_errors(self) -> None:
        self.errors = self.run()


@contextmanager
def running(*registrations: Registration, **options: Any) -> Iterator[Running]:
    worker = Running(*registrations, **options)
    worker.thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        worker.thread.join(SECONDS)
    assert not worker.thread.is_alive()


def test_one_tries_again_while_another_runs(
    school: TrainingSchool,
    away: Registration,
    registration: MakeRegistration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    AwaySchool.failures = 2
    school.register("Fido")
    with (
        caplog.at_level(logging.WARNING, "django_esdb.runner"),
        running(away, registration(projection_class=Other)) as worker,
    ):
        wait_until(lambda: SchoolCounts.objects.filter(dogs=1).exists())

    assert worker.errors == []
    assert sorted(worker.started) == ["Other", TrainingSchoolProjection.name]
    (line,) = [each.getMessage() for each in caplog.records]
    assert "could not begin, trying again" in line
    assert "it is away" in line


@pytest.mark.any_database
def test_where_none_can_begin_all_end(
    school: TrainingSchool, away: Registration, registration: MakeRegistration
) -> None:
    AwaySchool.failures = 1000
    other = registration(projection_class=Other, application_class=AwaySchool)

    errors = Worker([away, other], Options()).run()

    assert len(errors) == 2
    assert all("cannot run" in str(error) for error in errors)


@pytest.mark.any_database
def test_what_is_wrong_for_good_is_not_tried_again(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    class Wrong(TrainingSchoolProjection):
        def __init__(self, view: Any) -> None:
            raise ValueError("for good")

    failed = threading.Event()

    def note(**kwargs: Any) -> None:
        failed.set()

    signals.projection_failed.connect(note)
    worker = Worker(
        [registration(projection_class=Wrong), registration(projection_class=Other)],
        Options(),
    )
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(worker.run()))
    thread.start()
    try:
        assert failed.wait(SECONDS)
    finally:
        worker.stop()
        thread.join(SECONDS)

    assert ["for good" in str(error) for error in ended[0]] == [True]


@pytest.mark.any_database
@pytest.mark.parametrize("option", ["fail_fast", "until_caught_up"])
def test_it_is_not_tried_again_where_a_caller_waits_for_the_end(
    school: TrainingSchool,
    away: Registration,
    registration: MakeRegistration,
    option: str,
) -> None:
    other = registration(projection_class=Other)

    errors = Worker([away, other], Options(**{option: True})).run()

    assert ["it is away" in str(error) for error in errors] == [True]


@pytest.mark.any_database
def test_a_stop_ends_the_trying(
    school: TrainingSchool,
    away: Registration,
    registration: MakeRegistration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    AwaySchool.failures = 1000
    with (
        caplog.at_level(logging.WARNING, "django_esdb.runner"),
        running(away, registration(projection_class=Other)) as worker,
    ):
        wait_until(lambda: caplog.records)

    assert worker.errors == []
