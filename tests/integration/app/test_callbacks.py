"""What handlers have done after the commit, by ``transaction.on_commit``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from eventsourcing.persistence import Tracking

from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import FailedEvent, ProjectionState
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import tricks
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


class CallingProjection(TrainingSchoolProjection):
    """Has each trick called back after the commit; some calls or events fail."""

    name = "Calling"
    called: list[str] = []
    failing: dict[str, type[BaseException]] = {}
    bad: set[str] = set()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        trick = getattr(domain_event, "trick", "")
        if not trick:
            return
        transaction.on_commit(lambda: self._call(trick))
        if trick in self.bad:
            raise ValueError(trick)

    def _call(self, trick: str) -> None:
        assert not connection.in_atomic_block
        self.called.append(trick)
        if trick in self.failing:
            raise self.failing[trick]


@pytest.fixture
def calling(
    registration: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Registration]:
    monkeypatch.setattr(CallingProjection, "called", [])
    monkeypatch.setattr(CallingProjection, "failing", {})
    monkeypatch.setattr(CallingProjection, "bad", set())

    def make(**options: Any) -> Registration:
        return registration(projection_class=CallingProjection, **options)

    return make


def test_each_events_is_called_once_and_in_order(
    school: TrainingSchool, calling: MakeRegistration
) -> None:
    school.register("Fido")
    names = [f"trick {number}" for number in range(20)]
    for name in names:
        last = school.add_trick("Fido", name)
    CallingProjection.bad.add("trick 7")

    catch_up(calling(on_failure=OnFailure.SKIP))

    assert tracking().position >= last
    assert CallingProjection.called == [name for name in names if name != "trick 7"]


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_one_that_fails_stops_nothing_and_is_logged_with_its_event(
    school: TrainingSchool,
    calling: MakeRegistration,
    error: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    school.register("Fido")
    school.add_trick("Fido", "sit")
    there = school.add_trick("Fido", "burn")
    CallingProjection.failing["burn"] = error
    school.add_trick("Fido", "roll")

    with running(calling()) as supervisor:
        wait_until(lambda: "roll" in CallingProjection.called)
        last = school.add_trick("Fido", "jump")
        wait_until(lambda: (tracking().position or 0) >= last)
        assert tracking().state == ProjectionState.RUNNING

    assert supervisor.events == ["started"]
    assert CallingProjection.called == ["sit", "burn", "roll", "jump"]
    assert tricks("Fido") == ["sit", "burn", "roll", "jump"]
    [said] = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert said == (
        "An on_commit callback failed: projection=Calling "
        f"application={school.name} position={there}"
    )


def test_one_that_a_savepoint_has_undone_is_not_called(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    called: list[str] = []

    class Undoing(TrainingSchoolProjection):
        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            super().process_event(domain_event, tracking)
            try:
                with transaction.atomic():
                    transaction.on_commit(lambda: called.append("undone"))
                    raise ValueError
            except ValueError:
                transaction.on_commit(lambda: called.append("done"))

    school.register("Fido")
    school.register("Rex")

    catch_up(registration(projection_class=Undoing))

    assert called == ["done", "done"]


def test_one_that_fails_leaves_a_retried_event_resolved(
    school: TrainingSchool,
    calling: MakeRegistration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    school.register("Fido")
    there = school.add_trick("Fido", "burn")
    CallingProjection.bad.add("burn")
    registration = calling(on_failure=OnFailure.PARK)
    catch_up(registration)
    CallingProjection.bad.clear()
    CallingProjection.failing["burn"] = RuntimeError

    outcome = retry_failed_events(registration)

    assert (outcome.resolved, outcome.failed) == (1, 0)
    assert not FailedEvent.objects.exists()
    assert tricks("Fido") == ["burn"]
    assert caplog.records[-1].getMessage().endswith(f"position={there}")
