"""What becomes of errors that would end a thread, a task or a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb import signals
from django_esdb.exceptions import EventProcessingError, ProjectionError
from django_esdb.failures.audit import Audit
from django_esdb.failures.parking import failed_events
from django_esdb.failures.requests import request_retry
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import FailedEvent, ProjectionState
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from django_esdb.runner.projection_runner import ProjectionRunner
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import tricks
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]

ENDINGS = [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]
# How a handler is left is the same for each: here one is enough for other databases.
MOST_ON_ANY_DATABASE = pytest.mark.parametrize(
    "ending",
    [
        SystemExit,
        *(
            pytest.param(error, marks=pytest.mark.any_database)
            for error in ENDINGS
            if error is not SystemExit
        ),
    ],
    ids=lambda error: error.__name__,
    indirect=True,
)


class EndingProjection(TrainingSchoolProjection):
    """Raises what it is told at the trick «end»."""

    name = "Ending"
    error: type[BaseException] = SystemExit

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        if getattr(domain_event, "trick", "") == "end":
            raise self.error


@pytest.fixture(params=ENDINGS, ids=lambda error: error.__name__)
def ending(
    request: pytest.FixtureRequest,
    registration: MakeRegistration,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Registration]:
    """Make a registration of the projection whose handler raises such an error."""
    monkeypatch.setattr(EndingProjection, "error", request.param)

    def make(**options: Any) -> Registration:
        return registration(projection_class=EndingProjection, **options)

    return make


def write(school: TrainingSchool) -> None:
    school.register("Fido")
    school.register("Rex")
    school.add_trick("Fido", "end")
    school.add_trick("Rex", "sit")


def test_it_is_a_failure_of_the_event(
    school: TrainingSchool, ending: MakeRegistration
) -> None:
    write(school)
    registration = ending()

    with pytest.raises(EventProcessingError, match=EndingProjection.error.__name__):
        catch_up(registration)

    assert tracking().state == ProjectionState.PAUSED
    assert EndingProjection.error.__name__ in tracking().error
    assert (tricks("Fido"), tricks("Rex")) == ([], [])


@pytest.mark.any_database
def test_the_event_is_put_aside_where_the_policy_says_so(
    school: TrainingSchool, ending: MakeRegistration
) -> None:
    write(school)

    catch_up(ending(on_failure=OnFailure.PARK))

    [event] = FailedEvent.objects.all()
    assert event.error == EndingProjection.error.__name__
    assert tricks("Rex") == ["sit"]


@MOST_ON_ANY_DATABASE
def test_retrying_such_an_event_fails_again(
    school: TrainingSchool, ending: MakeRegistration
) -> None:
    write(school)
    registration = ending(on_failure=OnFailure.PARK)
    catch_up(registration)
    if EndingProjection.error is KeyboardInterrupt:
        # A signal from the terminal, as far as can be known.
        with pytest.raises(KeyboardInterrupt):
            retry_failed_events(registration)
        return

    outcome = retry_failed_events(registration)

    assert (outcome.resolved, outcome.failed) == (0, 1)
    assert FailedEvent.objects.get().attempts == 2


@MOST_ON_ANY_DATABASE
def test_retrying_it_in_the_background_fails_again_and_ends_nothing(
    school: TrainingSchool, ending: MakeRegistration, settings: Any
) -> None:
    settings.ESDB_LEASE_SECONDS = 0.6
    write(school)
    registration = ending(on_failure=OnFailure.PARK)
    catch_up(registration)

    with running(registration):
        request_retry(Audit(), failed_events(registration.tracked()))
        wait_until(lambda: FailedEvent.objects.get().attempts == 2)
        last = school.add_trick("Rex", "roll")
        wait_until(lambda: (tracking().position or 0) >= last)
        assert tracking().state == ProjectionState.RUNNING


@pytest.mark.any_database
def test_it_is_a_failure_of_the_event_also_for_other_views(
    school: TrainingSchool, registration: MakeRegistration, settings: Any
) -> None:
    key = "TRAININGSCHOOLPROJECTION_PERSISTENCE_MODULE"
    settings.ESDB_ENV = {key: "eventsourcing.popo"}

    class View(POPOTrackingRecorder):
        def register_dog(self, dog_id: Any, name: str, tracking: Tracking) -> None:
            raise SystemExit(7)

    school.register("Fido")

    with pytest.raises(EventProcessingError, match="SystemExit: 7"):
        catch_up(registration(view_class=View))

    assert tracking().state == ProjectionState.PAUSED


@pytest.mark.any_database
def test_a_receiver_of_a_signal_ends_nothing(
    school: TrainingSchool, school_projection: Registration
) -> None:
    def end(**kwargs: Any) -> None:
        raise SystemExit

    signals.batch_committed.connect(end)
    try:
        last = school.register("Fido")
        catch_up(school_projection)
    finally:
        signals.batch_committed.disconnect(end)

    assert tracking().position >= last


@pytest.fixture
def _dying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each projection's thread die, for an unknown reason."""

    def die(self: ProjectionRunner, head: int | None) -> bool:
        raise SystemExit("out of luck")

    monkeypatch.setattr(ProjectionRunner, "is_caught_up", die)


@pytest.mark.any_database
@pytest.mark.usefixtures("_dying")
def test_a_thread_that_dies_leaves_state_and_reason(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")

    with pytest.raises(ProjectionError, match="failed: SystemExit: out of luck"):
        catch_up(school_projection)

    row = tracking()
    assert (row.state, row.owner) == (ProjectionState.FAILED, "")
    assert row.error.endswith("SystemExit: out of luck")


@pytest.mark.any_database
@pytest.mark.usefixtures("_dying")
def test_a_thread_that_dies_is_the_commands_failure(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")

    with pytest.raises(CommandError, match="SystemExit: out of luck") as raised:
        call_command("runprojections", "--until-caught-up")

    assert raised.value.returncode == 1


@pytest.mark.any_database
def test_what_ends_a_supervisor_itself_is_the_commands_failure(
    school: TrainingSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: Any) -> None:
        raise SystemExit("out of luck")

    monkeypatch.setattr("django_esdb.runner.standby.ElsewhereCheck.close", die)

    with pytest.raises(CommandError, match="SystemExit: out of luck") as raised:
        call_command("runprojections", "--until-caught-up")

    assert raised.value.returncode == 1
