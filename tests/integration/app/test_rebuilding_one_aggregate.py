"""``rebuildprojection --only``: one aggregate's rows, while others stay as they are."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import models
from eventsourcing.persistence import Tracking

from django_esdb.exceptions import LeaseHeldError, LeaseLostError
from django_esdb.leases.process_identity import new_owner
from django_esdb.models import FailedEvent, ProjectionState, ProjectionTracking
from django_esdb.policies import OnFailure
from django_esdb.rebuilding import one_aggregate
from django_esdb.rebuilding.beginning import take_over
from django_esdb.rebuilding.one_aggregate import rebuild_aggregate
from django_esdb.registry import Registration, registry
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.failed_events import tricks
from tests.support.supervising import catch_up, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


class DogView(TrainingSchoolView):
    """A row for each dog, and nothing that several have in common."""

    read_models = (Dog,)

    def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            self.rows(Dog).add(Dog(id=dog_id, name=name))

    def add_trick(self, dog_id: UUID, trick: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            self.rows(Dog).get(dog_id).tricks.append(trick)

    def aggregate_rows(self, originator_id: UUID) -> models.QuerySet[Dog]:
        return Dog.objects.filter(id=originator_id)


class Dogs(TrainingSchoolProjection):
    name = "Dogs"
    replayed: list[tuple[str, bool]] = []
    told: list[str] = []
    bad: set[str] = set()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        trick = getattr(domain_event, "trick", "")
        if trick in self.bad:
            raise ValueError(trick)
        if trick:
            self.replayed.append((trick, self.is_replay))
            self.on_live(lambda: self.told.append(trick))


@pytest.fixture
def dogs(
    registration: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> Registration:
    for name in ("replayed", "told"):
        monkeypatch.setattr(Dogs, name, [])
    monkeypatch.setattr(Dogs, "bad", set())
    made = registration(
        projection_class=Dogs, view_class=DogView, on_failure=OnFailure.PARK
    )
    monkeypatch.setattr(registry, "_registry", {"Dogs": made})
    return made


@pytest.fixture
def fido(school: TrainingSchool, dogs: Registration) -> str:
    """Two dogs with a trick each, whose rows are wrong; Fido's ID."""
    for name in ("Fido", "Rex"):
        school.register(name)
        school.add_trick(name, "sit")
    catch_up(dogs)
    fido = str(Dog.objects.get(name="Fido").pk)
    assert Dog.objects.update(tricks=["wrong"]) == 2
    return fido


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("rebuildprojection", "Dogs", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def test_rows_of_one_aggregate_are_made_anew_and_others_are_left(fido: str) -> None:
    before = tracking()
    Dogs.replayed.clear()

    said = run("--only", fido, "--no-input")

    assert said == (
        f"Dogs: {fido} is rebuilt from 2 events; deleted 1 row of training_school.Dog\n"
    )
    assert (tricks("Fido"), tricks("Rex")) == (["sit"], ["wrong"])
    after = tracking()
    assert after.token > before.token
    assert (after.position, after.processed) == (before.position, before.processed)
    assert (after.state, after.owner, after.leased_until) == (before.state, "", None)
    assert Dogs.replayed == [("sit", True)]
    assert Dogs.told == ["sit", "sit"]


def test_events_behind_the_position_are_left_to_the_projection(
    school: TrainingSchool, dogs: Registration, fido: str
) -> None:
    school.add_trick("Fido", "later")

    assert "from 2 events" in run("--only", fido, "--no-input")
    assert tricks("Fido") == ["sit"]

    catch_up(dogs)
    assert tricks("Fido") == ["sit", "later"]
    assert Dogs.told.count("later") == 1


def test_nothing_is_lost_or_applied_twice_while_a_worker_runs(
    school: TrainingSchool, dogs: Registration, fido: str
) -> None:
    expected = ["sit"]
    with running(dogs, exclusive=True):
        for number in range(6):
            expected.append(f"trick {number}")
            school.add_trick("Fido", expected[-1])
            rebuild_aggregate(dogs, fido)
        wait_until(lambda: tricks("Fido") == expected)
        wait_until(lambda: tracking().state == ProjectionState.RUNNING)
    assert Dogs.told == ["sit", *expected]


def test_failed_events_of_the_aggregate_are_processed_with_it(
    school: TrainingSchool, dogs: Registration, fido: str
) -> None:
    Dogs.bad.add("burn")
    for trick in ("burn", "roll"):
        school.add_trick("Fido", trick)
    school.add_trick("Rex", "burn")
    catch_up(dogs)
    assert FailedEvent.objects.count() == 3

    with pytest.raises(CommandError, match=r"has failed again at .* burn") as failed:
        run("--only", fido, "--no-input")

    assert failed.value.returncode == 1
    assert tricks("Fido") == ["wrong"]
    assert FailedEvent.objects.count() == 3
    assert tracking().owner == ""
    Dogs.bad.clear()
    run("--only", fido, "--no-input")
    assert tricks("Fido") == ["sit", "burn", "roll"]
    assert FailedEvent.objects.count() == 1


@pytest.mark.any_database
def test_it_says_what_will_be_deleted_and_asks(
    fido: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(text: str) -> str:
        asked.append(text)
        return "no"

    monkeypatch.setattr("builtins.input", refuse)

    with pytest.raises(CommandError, match="Nothing was rebuilt"):
        run("--only", fido)

    assert f"of aggregate {fido} will be rebuilt: 1 row of training_school" in asked[0]
    assert tricks("Fido") == ["wrong"]


@pytest.mark.any_database
@pytest.mark.parametrize("unknown", [str(UUID(int=7)), "no such dog"])
def test_unknown_aggregates_are_refused(fido: str, unknown: str) -> None:
    with pytest.raises(CommandError, match="There are no events of aggregate") as no:
        run("--only", unknown, "--no-input")
    assert no.value.returncode == 2
    assert tracking().owner == ""


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("method", "text"),
    [
        (None, "Dog.objects.filter"),
        (lambda self, key: 7, "has returned a int; it must be a queryset"),
        (lambda self, key: [Dog], "has returned a ModelBase, which is none"),
        (
            lambda self, key: [ProjectionTracking.objects.all()],
            "has returned a ProjectionTracking, which is none of its read_models",
        ),
    ],
)
def test_views_that_do_not_say_which_rows_these_are_are_refused(
    fido: str, monkeypatch: pytest.MonkeyPatch, method: Any, text: str
) -> None:
    monkeypatch.setattr(DogView, "aggregate_rows", method)

    with pytest.raises(CommandError, match=text) as refused:
        run("--only", fido, "--no-input")
    assert refused.value.returncode == 2
    assert tricks("Fido") == ["wrong"]


def test_who_is_taken_over_meanwhile_changes_nothing(
    dogs: Registration, fido: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = one_aggregate._read

    def read_slowly(*args: Any) -> Any:
        events = read(*args)
        ProjectionTracking.objects.update(token=tracking().token + 1, owner="another")
        return events

    monkeypatch.setattr(one_aggregate, "_read", read_slowly)

    with pytest.raises(LeaseLostError, match="taken over by another"):
        rebuild_aggregate(dogs, fido)

    assert tricks("Fido") == ["wrong"]
    assert tracking().owner == "another"


@pytest.mark.any_database
def test_a_rebuild_of_all_is_not_disturbed(
    school: TrainingSchool, dogs: Registration, fido: str
) -> None:
    begun = take_over(dogs, new_owner(rebuilds=True), 60)
    ProjectionTracking.objects.update(position=0)

    with pytest.raises(LeaseHeldError, match="is being rebuilt by"):
        rebuild_aggregate(dogs, fido)

    assert tracking().token == begun.lease.token


@pytest.mark.any_database
def test_before_anything_was_processed_there_is_nothing_to_rebuild(
    school: TrainingSchool, dogs: Registration
) -> None:
    position = school.register("Fido")

    assert rebuild_aggregate(dogs, str(uuid4())).events == 0
    catch_up(dogs)
    assert tracking().position >= position
