"""Failing events that are put aside, and tried again later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_esdb.exceptions import FailedEventError
from django_esdb.failures.attempts import Attempts
from django_esdb.failures.discarding import discard_failed_events
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import FailedEvent, ProjectionTracking, SkippedEvent
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog as DogAggregate
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import tricks
from tests.support.failing import FailingProjection, parked
from tests.support.stores import append
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


@pytest.mark.usefixtures("_registered")
def test_a_parked_event_is_put_aside_and_others_continue(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    school.register("Fido")
    school.register("Rex")
    there = school.add_trick("Fido", "burn")
    last = school.add_trick("Rex", "sit")

    catch_up(failing(on_failure=OnFailure.PARK))

    assert tracking().position >= last
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


def test_an_event_that_its_store_does_not_have_keeps_no_other_from_being_tried(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    for name in ("Fido", "Rex"):
        school.register(name)
        school.add_trick(name, "burn")
    registration = failing(on_failure=OnFailure.PARK)
    catch_up(registration)
    gone, there = FailedEvent.objects.in_order()
    # As in a store that was emptied and has other events by now.
    FailedEvent.objects.filter(pk=gone.pk).update(position=gone.position + 1)
    FailingProjection.bad.clear()

    outcome = retry_failed_events(registration)

    assert (outcome.resolved, outcome.failed, outcome.waiting) == (1, 1, 0)
    left = FailedEvent.objects.get()
    assert left.pk == gone.pk
    assert "it is not in the store any more" in left.error
    assert tricks("Rex") == ["burn"]
    assert there.originator_id == str(DogAggregate.create_id("Rex"))


@pytest.mark.parametrize(
    "fails", [True, pytest.param(False, marks=pytest.mark.any_database)]
)
@pytest.mark.parametrize(
    "is_deleted", [pytest.param(True, marks=pytest.mark.any_database), False]
)
@pytest.mark.parametrize("on_failure", [OnFailure.PARK, OnFailure.SKIP])
def test_what_is_noted_ahead_of_a_position_that_was_moved_back_is_forgotten(
    school: TrainingSchool,
    failing: MakeRegistration,
    caplog: pytest.LogCaptureFixture,
    on_failure: OnFailure,
    *,
    is_deleted: bool,
    fails: bool,
) -> None:
    registered = school.register("Fido")
    burned = school.add_trick("Fido", "burn")
    registration = failing(on_failure=on_failure)
    catch_up(registration)
    kind = FailedEvent if on_failure is OnFailure.PARK else SkippedEvent
    before = kind.objects.get()
    # By hand; nothing of the package does so.
    if is_deleted:
        ProjectionTracking.objects.all().delete()
        Dog.objects.all().delete()
        SchoolCounts.objects.all().delete()
    else:
        ProjectionTracking.objects.update(position=registered)
    if not fails:
        FailingProjection.bad.clear()

    catch_up(registration)

    count = {"failed": 0, "skipped": 0}
    count["failed" if on_failure is OnFailure.PARK else "skipped"] = 1
    assert (
        "Notes of events forgotten, since the projection comes to them again: "
        "projection=Failing application=TrainingSchool "
        f"{'' if is_deleted else f'position={registered} '}"
        f"failed={count['failed']} skipped={count['skipped']}"
    ) in caplog.text
    assert [each.position for each in kind.objects.all()] == [burned] * fails
    assert not kind.objects.filter(pk=before.pk).exists()
    assert tricks("Fido") == ([] if fails else ["burn"])


def test_an_event_that_comes_again_is_not_retried_before(
    school: TrainingSchool, failing: MakeRegistration
) -> None:
    registered = school.register("Fido")
    school.add_trick("Fido", "burn")
    registration = failing(on_failure=OnFailure.PARK)
    catch_up(registration)
    FailingProjection.bad.clear()
    ProjectionTracking.objects.update(position=registered)

    outcome = retry_failed_events(registration)

    assert (outcome.resolved, outcome.failed) == (0, 1)
    assert "the projection's position was moved back" in FailedEvent.objects.get().error
    catch_up(registration)
    assert not FailedEvent.objects.exists()
    assert tricks("Fido") == ["burn"]


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


def test_what_is_discarded_while_it_is_to_be_retried_is_not_called_processed(
    school: TrainingSchool, failing: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    school.add_trick("Fido", "sit")
    registration = failing(on_failure=OnFailure.PARK)
    catch_up(registration)
    FailingProjection.bad.clear()
    first = FailedEvent.objects.in_order()[0]
    read, reported = Attempts._read, []

    def discard_first(attempts: Attempts, event: FailedEvent) -> Any:
        if event.pk == first.pk:
            discard_failed_events(registration, event.pk)
        return read(attempts, event)

    monkeypatch.setattr(Attempts, "_read", discard_first)
    outcome = retry_failed_events(
        registration, report=lambda event, error: reported.append(event.position)
    )

    assert (outcome.resolved, outcome.failed, outcome.waiting) == (1, 0, 0)
    assert reported == [tracking().position]
    assert tricks("Fido") == ["sit"]


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
