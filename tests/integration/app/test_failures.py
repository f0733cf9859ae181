"""What becomes of events that fail."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb.exceptions import EventProcessingError, FailedEventError
from django_esdb.failures import skipping
from django_esdb.failures.discarding import discard_failed_events
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import FailedEvent, ProjectionState, SkippedEvent
from django_esdb.policies import FailurePolicy, OnFailure
from django_esdb.registry import Registration, registry
from django_esdb.runner import decisions
from django_esdb.runner.decisions import STANDBY_SECONDS
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog as DogAggregate
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.event_stores import EventStore
from tests.support.stores import append
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


class FailingProjection(TrainingSchoolProjection):
    """Fails for the tricks that it is told; a secret is no part of the message."""

    name = "Failing"
    bad: set[str] = set()
    tries: list[str] = []

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        trick = getattr(domain_event, "trick", "")
        if trick:
            self.tries.append(trick)
        if trick in self.bad:
            # What was done so far is undone.
            super().process_event(domain_event, tracking)
            msg = f"cannot {trick}"
            raise RuntimeError(msg)
        super().process_event(domain_event, tracking)


@pytest.fixture(autouse=True)
def _quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(FailingProjection, "bad", {"burn"})
    monkeypatch.setattr(FailingProjection, "tries", [])


@pytest.fixture
def failing(registration: MakeRegistration) -> MakeRegistration:
    """Make a registration of the projection that fails."""

    def make(**options: Any) -> Registration:
        return registration(projection_class=FailingProjection, **options)

    return make


@pytest.fixture
def _registered(failing: MakeRegistration) -> Iterator[None]:
    registry._registry["Failing"] = failing(on_failure=OnFailure.PARK)
    yield
    del registry._registry["Failing"]


def tricks(name: str) -> list[str]:
    return list(Dog.objects.get(name=name).tricks)


def parked() -> list[tuple[str, str]]:
    """Return of each failed event the topic's last part and the error."""
    return [
        (event.topic.rpartition(".")[2], event.error)
        for event in FailedEvent.objects.in_order()
    ]


# What handlers return


async def _later() -> None:
    pass


def _generator() -> Iterator[None]:
    yield


async def _async_generator() -> Any:
    yield


class _Awaitable:
    def __await__(self) -> Any:
        return iter(())


@pytest.mark.parametrize("returned", [_later, _generator, _async_generator, _Awaitable])
def test_what_is_not_done_yet_is_a_failure(
    school: TrainingSchool,
    registration: MakeRegistration,
    returned: Callable[[], Any],
) -> None:
    class Returning(TrainingSchoolProjection):
        def process_event(self, domain_event: Any, tracking: Tracking) -> Any:
            return returned()

    school.register("Fido")
    returning = registration(projection_class=Returning, on_failure=OnFailure.PARK)

    catch_up(returning)

    [event] = FailedEvent.objects.all()
    assert "a handler has returned a" in event.error
    assert "is called and not awaited" in event.error
    assert retry_failed_events(returning).failed == 1


def test_what_is_not_done_yet_is_a_failure_also_for_other_views(
    school: TrainingSchool, registration: MakeRegistration, settings: Any
) -> None:
    key = "TRAININGSCHOOLPROJECTION_PERSISTENCE_MODULE"
    settings.ESDB_ENV = {key: "eventsourcing.popo"}

    class Returning(TrainingSchoolProjection):
        name = TrainingSchoolProjection.name

        def process_event(self, domain_event: Any, tracking: Tracking) -> Any:
            return _later()

    school.register("Fido")

    with pytest.raises(EventProcessingError, match="has returned a coroutine"):
        catch_up(
            registration(projection_class=Returning, view_class=POPOTrackingRecorder)
        )


# Stopping


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
    assert row.position == before
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

    assert tracking().position == last
    assert (tracking().state, tracking().error) == (ProjectionState.STOPPED, "")


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


def test_the_retries_restart_with_another_event() -> None:
    policy = FailurePolicy(OnFailure.STOP, retries=1)

    decisions = [policy.failed(position) for position in (5, 8, 5, 5)]

    assert decisions == [None, None, None, OnFailure.STOP]


def test_retries_are_read_from_the_settings_when_they_are_needed(settings: Any) -> None:
    stop = FailurePolicy(OnFailure.STOP, retries=None)
    assert stop.retries == 5
    settings.ESDB_RETRIES = 7
    assert stop.retries == 7
    assert FailurePolicy(OnFailure.PARK, retries=None).retries == 0


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
        wait_until(lambda: supervisor._term is not None)
        store.start()
        last = school.register("Rex")
        wait_until(lambda: tracking().position == last)
        school.close()

    assert supervisor.events == ["started"]


# Parking


@pytest.mark.usefixtures("_registered")
def test_a_parked_event_is_put_aside_and_others_continue(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    school.register("Fido")
    school.register("Rex")
    there = school.add_trick("Fido", "burn")
    last = school.add_trick("Rex", "sit")

    catch_up(failing(on_failure=OnFailure.PARK))

    assert tracking().position == last
    assert (tricks("Fido"), tricks("Rex")) == ([], ["sit"])
    event = FailedEvent.objects.get()
    assert event.position == there
    assert event.originator_id == str(DogAggregate.create_id("Fido"))
    assert event.originator_version == 1
    assert event.error == "RuntimeError: cannot burn"
    assert event.attempts == 1
    assert SchoolCounts.objects.get().tricks == 1


def test_later_events_of_the_aggregate_are_parked_behind_it(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    school.add_trick("Fido", "sit")
    registration = failing(on_failure=OnFailure.PARK)
    catch_up(registration)
    # Also those that another process finds.
    school.add_trick("Fido", "roll")
    catch_up(registration)

    assert parked() == [
        ("TrickAdded", "RuntimeError: cannot burn"),
        ("TrickAdded", ""),
        ("TrickAdded", ""),
    ]
    assert FailingProjection.tries.count("sit") <= 1
    assert FailingProjection.tries.count("roll") == 0
    assert tricks("Fido") == []


def test_retrying_resolves_in_order_with_the_code_of_today(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    school.add_trick("Fido", "sit")
    registration = failing(on_failure=OnFailure.PARK)
    catch_up(registration)
    reported: list[tuple[int, str]] = []

    again = retry_failed_events(
        registration, report=lambda event, error: reported.append((event.pk, error))
    )
    first = FailedEvent.objects.in_order().first()
    assert first is not None
    assert (again.resolved, again.failed, again.waiting) == (0, 1, 1)
    assert reported == [(first.pk, "RuntimeError: cannot burn")]
    assert first.attempts == 2

    FailingProjection.bad.clear()
    position = tracking().position
    outcome = retry_failed_events(registration)

    assert (outcome.resolved, outcome.failed, outcome.waiting) == (2, 0, 0)
    assert not FailedEvent.objects.exists()
    assert tricks("Fido") == ["burn", "sit"]
    assert SchoolCounts.objects.get().tricks == 2
    assert tracking().position == position
    # From now on the aggregate's events are processed as they come.
    school.add_trick("Fido", "roll")
    catch_up(registration)
    assert tricks("Fido") == ["burn", "sit", "roll"]


def test_retrying_while_the_projection_runs_loses_nothing(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    registration = failing(on_failure=OnFailure.PARK)
    with running(registration):
        wait_until(lambda: FailedEvent.objects.exists())
        FailingProjection.bad.clear()
        for number in range(40):
            last = school.add_trick("Fido", f"trick {number}")
            if number % 4 == 0:
                retry_failed_events(registration)
        wait_until(lambda: (tracking().position or 0) >= (last or 0))
        retry_failed_events(registration)

    assert not FailedEvent.objects.exists()
    assert tricks("Fido") == ["burn", *(f"trick {number}" for number in range(40))]


def test_an_event_waits_for_the_earlier_one_of_its_aggregate(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    school.add_trick("Fido", "sit")
    registration = failing(on_failure=OnFailure.PARK)
    catch_up(registration)
    first, second = FailedEvent.objects.in_order()

    with pytest.raises(FailedEventError, match=rf"waits for {first.pk}"):
        retry_failed_events(registration, second.pk)
    with pytest.raises(FailedEventError, match="has no failed event 0"):
        retry_failed_events(registration, 0)

    assert discard_failed_events(registration, first.pk) == 1
    assert retry_failed_events(registration, second.pk).resolved == 1
    assert tricks("Fido") == ["sit"]


def test_discarding_leaves_out_for_good(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    registration = failing(on_failure=OnFailure.PARK)
    catch_up(registration)

    assert discard_failed_events(registration) == 1
    school.add_trick("Fido", "sit")
    catch_up(registration)

    assert tricks("Fido") == ["sit"]
    with pytest.raises(FailedEventError):
        discard_failed_events(registration, 1)


def test_what_cannot_be_decoded_is_parked_too(
    school: TrainingSchool, registration: MakeRegistration, server: EmbeddedServer
) -> None:
    class Everything(TrainingSchoolProjection):
        topics = ()

    school.register("Fido")
    broken = str(DogAggregate.create_id("Broken"))
    append(server, broken, "gone:Dog.Registered")
    append(server, broken, "gone:Dog", b"")
    school.register("Rex")
    everything = registration(projection_class=Everything, on_failure=OnFailure.PARK)

    catch_up(everything)

    assert {dog.name for dog in Dog.objects.all()} == {"Fido", "Rex"}
    assert [event.originator_id for event in FailedEvent.objects.all()] == [broken] * 2
    first, second = parked()
    assert "Failed to resolve topic" in first[1]
    assert second[1] == ""
    outcome = retry_failed_events(everything)
    assert (outcome.failed, outcome.waiting) == (1, 1)


def test_parking_can_be_preceded_by_retries(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")

    catch_up(failing(on_failure=OnFailure.PARK, retries=2))

    assert FailingProjection.tries == ["burn"] * 4
    assert FailedEvent.objects.count() == 1


# Skipping


def test_what_is_skipped_is_left_out_and_logged(
    school: TrainingSchool,
    failing: MakeRegistration,
    caplog: pytest.LogCaptureFixture,
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    last = school.add_trick("Fido", "sit")

    catch_up(failing(on_failure=OnFailure.SKIP))

    assert tracking().position == last
    assert tricks("Fido") == ["sit"]
    assert not FailedEvent.objects.exists()
    skipped = [r for r in caplog.records if r.getMessage().startswith("Event skipped")]
    assert len(skipped) == 1
    assert skipped[0].getMessage().endswith("error=RuntimeError: cannot burn")
    (kept,) = SkippedEvent.objects.all()
    assert kept.error == "RuntimeError: cannot burn"
    assert kept.topic.endswith("TrickAdded")
    assert kept.position < last


def test_the_latest_skipped_events_are_kept(
    school: TrainingSchool, failing: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skipping, "MOST_KEPT", 3)
    school.register("Fido")
    positions = []
    for _ in range(5):
        positions.append(school.add_trick("Fido", "burn"))
        last = school.add_trick("Fido", "sit")

    catch_up(failing(on_failure=OnFailure.SKIP))

    assert tracking().position == last
    kept = SkippedEvent.objects.values_list("position", flat=True)
    assert list(kept) == positions[-3:]


def test_too_many_in_a_row_are_not_skipped(
    school: TrainingSchool, failing: MakeRegistration, settings: Any
) -> None:
    settings.ESDB_MAX_SKIPPED = 3
    school.register("Fido")
    positions = [school.add_trick("Fido", "burn") for _ in range(5)]
    registration = failing(on_failure=OnFailure.SKIP)

    with running(registration) as supervisor:
        supervisor.wait_for("paused")
        row = tracking()
        assert row.state == ProjectionState.PAUSED
        assert row.position == positions[2]
        assert "more than 3 events in a row have failed" in row.error

        # Three more may be left out after a restart.
        assert retry_failed_events(registration).resumed
        wait_until(lambda: tracking().position == positions[4])

    assert tricks("Fido") == []


def test_what_succeeds_in_between_lets_more_be_skipped(
    school: TrainingSchool, failing: MakeRegistration, settings: Any
) -> None:
    settings.ESDB_MAX_SKIPPED = 1
    school.register("Fido")
    for _ in range(4):
        school.add_trick("Fido", "burn")
        last = school.add_trick("Fido", "sit")

    catch_up(failing(on_failure=OnFailure.SKIP))

    assert tracking().position == last
    assert tricks("Fido") == ["sit"] * 4


def test_ten_in_a_row_are_skipped_unless_the_setting_says_otherwise() -> None:
    policy = FailurePolicy(OnFailure.SKIP, retries=None)

    decisions = [policy.failed(position) for position in range(12)]

    assert decisions == [OnFailure.SKIP] * 10 + [OnFailure.STOP] * 2


# Registering


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"on_failure": "ignore"}, "must be one of 'stop', 'park', 'skip'"),
        ({"retries": -1}, "from 0 on"),
        ({"retries": True}, "from 0 on"),
    ],
)
def test_policies_that_cannot_be_are_refused(
    options: dict[str, Any], says: str, school_projection: Registration
) -> None:
    with pytest.raises(ValueError, match=says):
        registry.register(
            FailingProjection,
            application_class=school_projection.application_class,
            view_class=school_projection.view_class,
            **options,
        )


def test_only_views_on_the_orm_can_put_events_aside(
    school_projection: Registration,
) -> None:
    with pytest.raises(ValueError, match="derived from DjangoTrackingRecorder"):
        registry.register(
            FailingProjection,
            application_class=school_projection.application_class,
            view_class=POPOTrackingRecorder,
            on_failure="park",
        )


# Where it failed


@pytest.mark.parametrize("policy", list(OnFailure))
@pytest.mark.parametrize("retries", [0, 2])
def test_the_place_is_in_the_log_once_and_kept(
    failing: MakeRegistration,
    school: TrainingSchool,
    caplog: pytest.LogCaptureFixture,
    policy: OnFailure,
    retries: int,
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    projection = failing(on_failure=policy, retries=retries)

    if policy is OnFailure.STOP:
        with pytest.raises(EventProcessingError):
            catch_up(projection)
        kept = projection.tracked().row().traceback
    else:
        catch_up(projection)
        model = FailedEvent if policy is OnFailure.PARK else SkippedEvent
        kept = model.objects.get().traceback

    assert "in process_event" in kept
    assert kept.endswith("\nRuntimeError: cannot burn")
    assert caplog.text.count("Traceback (most recent call last)") == 1
    assert kept in caplog.text


def test_a_retry_that_fails_elsewhere_keeps_the_new_place(
    failing: MakeRegistration,
    school: TrainingSchool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    projection = failing(on_failure=OnFailure.PARK)
    catch_up(projection)

    def fail_elsewhere(self: Any, *args: Any) -> None:
        raise ValueError("elsewhere")

    monkeypatch.setattr(FailingProjection, "process_event", fail_elsewhere)
    retry_failed_events(projection)

    kept = FailedEvent.objects.get().traceback
    assert "in fail_elsewhere" in kept
    assert kept.endswith("\nValueError: elsewhere")
