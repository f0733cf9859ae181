"""Which events are processed, one on what the other has left, and undone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import connection, models
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb.debugging.dry_run import DryRun
from django_esdb.debugging.events import Choice
from django_esdb.exceptions import ConfigurationError, DryRunError
from django_esdb.models import FailedEvent, ProjectionTracking
from django_esdb.registry import Registration, registry
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.dry_runs import ActingView, changed, dog_id, runs, values
from tests.support.failed_events import MakeRegistration
from tests.support.rows_app.models import Owner
from tests.support.supervising import catch_up

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_event_has_what_it_changes_on_what_those_before_have_left(
    school: TrainingSchool, school_projection: Registration
) -> None:
    positions = [school.register("Fido"), school.add_trick("Fido", "sit")]
    pk = UUID(dog_id())
    # As in a new process, which asks for the tables' definitions only now.
    connection.close()

    first, second = runs(school_projection)

    assert [first.position, second.position] == positions
    assert first.topic.endswith(":Dog.Registered")
    new = {"id": pk, "name": "Fido", "tricks": []}
    counts = {"id": 1, "dogs": 1, "tricks": 0}
    assert changed(first) == [
        ("training_school.Dog", pk, None, new),
        ("training_school.SchoolCounts", 1, None, counts),
    ]
    assert changed(second) == [
        ("training_school.Dog", pk, new, new | {"tricks": ["sit"]}),
        ("training_school.SchoolCounts", 1, counts, counts | {"tricks": 1}),
    ]
    assert first.notes == second.notes == ()
    assert 0 < first.seconds < 60


def test_nothing_is_left(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")

    assert len(runs(school_projection)) == 1

    assert not Dog.objects.exists()
    assert not SchoolCounts.objects.exists()
    assert not ProjectionTracking.objects.exists()
    assert not connection.in_atomic_block


def test_positions_and_failed_events_stay(
    school: TrainingSchool, parked: list[FailedEvent]
) -> None:
    before = list(ProjectionTracking.objects.values())
    failed = list(FailedEvent.objects.values())

    (run,) = runs(registry.get("Picky"), only=parked[0].position)

    assert run.error == "RuntimeError: cannot burn <b>at all</b>"
    assert run.traceback.splitlines()[-1] == run.error
    assert "failed_events.py" in run.traceback
    assert run.changes == ()
    assert list(ProjectionTracking.objects.values()) == before
    assert list(FailedEvent.objects.values()) == failed


def test_what_comes_after_a_failure_is_processed_without_it(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        Owner.objects.create(name=str(tracking.notification_id))
        if tracking.notification_id == burning:
            raise ValueError(burning)

    ActingView.act = staticmethod(act)  # type: ignore[assignment]
    school.register("Fido")
    burning = school.add_trick("Fido", "burn")
    sitting = school.add_trick("Fido", "sit")

    _, failed, last = runs(registration(view_class=ActingView))

    assert failed.error == f"ValueError: {burning}"
    assert [each.pk for each in last.changes] == [str(sitting)]


@pytest.mark.any_database
def test_an_aggregates_rows_can_be_left_out_at_first(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    class View(TrainingSchoolView):
        def aggregate_rows(self, originator_id: UUID) -> models.QuerySet[Dog]:
            return Dog.objects.filter(pk=originator_id)

    registered = registration(view_class=View)
    for name in ("Fido", "Rex"):
        school.register(name)
    school.add_trick("Fido", "sit")
    catch_up(registered)
    before = list(Dog.objects.order_by("name").values())

    first, second = runs(registered, anew=True)

    assert values(first, Dog._meta.label, "name", "tricks") == {("Fido", None, "[]")}
    assert second.changes[0].after == before[0]
    assert list(Dog.objects.order_by("name").values()) == before
    with pytest.raises(ConfigurationError, match="does not say which rows"):
        runs(registration(), anew=True)


@pytest.mark.any_database
def test_events_are_chosen_by_position(
    school: TrainingSchool, school_projection: Registration
) -> None:
    positions = [school.register("Fido")]
    positions += [school.add_trick("Fido", trick) for trick in ("sit", "beg", "roll")]
    school.register("Rex")

    def found(**choice: Any) -> list[int]:
        return [run.position for run in runs(school_projection, **choice)]

    assert found() == positions
    assert found(start=positions[2]) == positions[2:]
    assert found(start=positions[1] + 1) == positions[2:]
    assert found(start=positions[3] + 1) == []
    assert found(only=positions[1]) == [positions[1]]
    assert found(aggregate=dog_id().upper(), only=positions[1]) == [positions[1]]
    run = DryRun(school_projection, Choice(dog_id(), most=2))
    assert [each.position for each in run.run()] == positions[:2]
    assert run.has_more


@pytest.mark.any_database
def test_what_is_not_there_is_told(
    school: TrainingSchool, school_projection: Registration
) -> None:
    position = school.register("Fido")

    with pytest.raises(DryRunError, match="no events of aggregate 'unknown'"):
        runs(school_projection, "unknown")
    with pytest.raises(DryRunError, match=f"no event .* at position {position + 1}"):
        runs(school_projection, only=position + 1)
    with pytest.raises(DryRunError, match=f"is of another aggregate: '{dog_id()}'"):
        runs(school_projection, dog_id("Rex"), only=position)


@pytest.mark.any_database
def test_events_of_other_topics_are_not_the_projections(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    class NoTricks(TrainingSchoolProjection):
        name = "NoTricks"
        topics = (TrainingSchoolProjection.topics[0],)

    only_dogs = registration(projection_class=NoTricks)
    first = school.register("Fido")
    position = school.add_trick("Fido", "sit")

    assert [run.position for run in runs(only_dogs)] == [first]
    with pytest.raises(DryRunError, match="'NoTricks' does not get"):
        runs(only_dogs, only=position)


def test_a_view_elsewhere_cannot_be_undone(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    class Memory(POPOTrackingRecorder):
        pass

    with pytest.raises(DryRunError, match="keeps its rows elsewhere"):
        runs(registration(view_class=Memory))
