"""Projections that try a failing event again, and pause."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from eventsourcing.persistence import Tracking

from django_esdb import signals
from django_esdb.exceptions import EventProcessingError
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import ProjectionState
from django_esdb.policies import FailurePolicy, OnFailure
from django_esdb.rebuilding.resetting import reset_projection
from django_esdb.registry import Registration
from django_esdb.runner.decisions import STANDBY_SECONDS
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.event_stores import EventStore
from tests.support.failed_events import tricks
from tests.support.failing import FailingProjection
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


def test_a_failing_event_is_tried_again_and_then_pauses_the_projection(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    before = school.register("Fido")
    there = school.add_trick("Fido", "burn")

    with running(failing(retries=2)) as supervisor:
        supervisor.wait_for("paused")
        wait_until(lambda: tracking().owner == "")
        row = tracking()

    # Once in a batch, then by itself, and twice again.
    assert FailingProjection.tries == ["burn"] * 4
    assert row.state == ProjectionState.PAUSED
    assert row.error.endswith(f"position {there}: RuntimeError: cannot burn")
    assert row.state_since is not None
    # What lies between is none of this application's.
    assert before <= row.position < there
    assert tricks("Fido") == []


def test_a_paused_projection_is_resumed_on_request(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    registration = failing()

    with running(registration) as supervisor:
        supervisor.wait_for("paused")
        FailingProjection.bad.clear()
        assert retry_failed_events(registration).resumed
        wait_until(lambda: tricks("Fido") == ["burn"])
        wait_until(lambda: tracking().state == ProjectionState.RUNNING)
        assert tracking().error == ""

    assert tracking().state == ProjectionState.STOPPED


def test_who_stands_by_does_not_take_over_what_was_paused(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    registration = failing()
    with running(registration) as first, running(registration) as second:
        second.wait_for("standing by")
        school.register("Fido")
        school.add_trick("Fido", "burn")
        first.wait_for("paused")
        tries = len(FailingProjection.tries)
        # Long enough for it to look again, twice.
        time.sleep(3 * STANDBY_SECONDS)
        assert len(FailingProjection.tries) == tries
        assert second.events == ["standing by"]

        FailingProjection.bad.clear()
        assert retry_failed_events(registration).resumed
        wait_until(lambda: tricks("Fido") == ["burn"])


def test_a_start_tries_again_what_was_paused(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    school.register("Fido")
    last = school.add_trick("Fido", "burn")
    with pytest.raises(EventProcessingError):
        catch_up(failing())
    FailingProjection.bad.clear()

    catch_up(failing())

    assert tracking().position >= last
    assert (tracking().state, tracking().error) == (ProjectionState.STOPPED, "")


@pytest.mark.any_database
def test_one_that_is_paused_does_not_stop_the_others(
    school: TrainingSchool,
    failing: MakeRegistration,
    school_projection: Registration,
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    Dog.objects.all().delete()

    class Elsewhere(TrainingSchoolView):
        def register_dog(self, dog_id: Any, name: str, tracking: Tracking) -> None:
            with self.atomic(tracking):
                pass

        def add_trick(self, dog_id: Any, trick: str, tracking: Tracking) -> None:
            with self.atomic(tracking):
                pass

    with (
        running(failing(view_class=Elsewhere)) as paused,
        running(school_projection),
    ):
        paused.wait_for("paused")
        last = school.add_trick("Fido", "sit")
        view = TrainingSchoolView(TrainingSchoolProjection.name)
        view.wait(school.name, last, timeout=30)

    assert tricks("Fido") == ["burn", "sit"]


@pytest.mark.any_database
def test_there_are_as_many_lines_as_changes_of_state(
    school: TrainingSchool,
    failing: MakeRegistration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "django_esdb.runner")
    school.register("Fido")
    school.add_trick("Fido", "burn")
    registration = failing(retries=20)

    with running(registration):
        wait_until(lambda: len(FailingProjection.tries) > 4)
        FailingProjection.bad.clear()
        wait_until(lambda: tricks("Fido") == ["burn"])
        wait_until(lambda: tracking().state == ProjectionState.RUNNING)

    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "Projection started",
        "Event failed, trying again",
        "Projection recovered",
        "Projection stopped",
    ]


@pytest.mark.any_database
def test_the_retries_restart_with_another_event() -> None:
    policy = FailurePolicy(OnFailure.STOP, retries=1)

    decisions = [policy.failed(position) for position in (5, 8, 5, 5)]

    assert decisions == [None, None, None, OnFailure.STOP]


@pytest.mark.any_database
def test_retries_are_read_from_the_settings_when_they_are_needed(settings: Any) -> None:
    stop = FailurePolicy(OnFailure.STOP, retries=None)
    assert stop.retries == 5
    settings.ESDB_RETRIES = 7
    assert stop.retries == 7
    assert FailurePolicy(OnFailure.PARK, retries=None).retries == 0


@pytest.mark.any_database
@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_a_store_that_is_away_is_no_failing_event(
    failing: MakeRegistration,
    settings: Any,
    store: EventStore,
    ends: Callable[[EventStore], None],
) -> None:
    FailingProjection.bad.clear()
    settings.ESDB_URI = store.uri
    registration = failing(retries=0)
    school = TrainingSchool(registration.env())
    with running(registration) as supervisor:
        school.register("Fido")
        wait_until(lambda: Dog.objects.exists())
        ends(store)
        wait_until(lambda: supervisor._interrupts._term is not None)
        store.start()
        last = school.register("Rex")
        wait_until(lambda: (tracking().position or 0) >= last)
        school.close()

    assert supervisor.events == ["started"]


def test_a_projection_that_was_reset_has_all_its_retries_again(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    registration = failing(on_failure=OnFailure.STOP, retries=3)

    counts: list[int] = []

    def reset_at_the_second(failures: int, **kwargs: Any) -> None:
        counts.append(failures)
        if len(counts) == 2:
            reset_projection(registration)

    signals.event_failed.connect(reset_at_the_second)
    try:
        with running(registration) as supervisor:
            supervisor.wait_for("paused")
    finally:
        signals.event_failed.disconnect(reset_at_the_second)

    assert counts == [1, 2, 1, 2, 3, 4]
