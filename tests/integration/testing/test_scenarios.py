from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection
from eventsourcing.utils import get_topic

from django_esdb.exceptions import EventProcessingError
from django_esdb.models import ProjectionTracking
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.registry import registry
from django_esdb.testing import EventFactory, given, project
from example_project.training_school import domain
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.rows_app.models import Animal, Owner, Visit

pytestmark = pytest.mark.django_db

fido = EventFactory(domain.Dog)
REGISTERED = fido.Registered(name="Fido")
SIT, BOW = fido.TrickAdded(trick="sit"), fido.TrickAdded(trick="bow")
ID = fido.id


def test_rows_are_what_events_make_of_them() -> None:
    given(REGISTERED, SIT).when(BOW).then(
        Dog(id=ID, name="Fido", tricks=["sit", "bow"]), SchoolCounts(dogs=1, tricks=2)
    )
    # The same, and only what counts.
    given([REGISTERED]).when(SIT, BOW).then(
        {Dog: [{"pk": str(ID), "tricks": ["sit", "bow"]}], SchoolCounts: [{"dogs": 1}]}
    )
    given().when().then({Dog: [], SchoolCounts: []})
    given(projection=TrainingSchoolProjection).when().then()
    # All is undone.
    assert not Dog.objects.exists()
    assert not ProjectionTracking.objects.exists()


def test_it_goes_on_from_what_is_there() -> None:
    project(TrainingSchoolProjection, [REGISTERED])

    given(SIT).when(BOW).then({Dog: [{"tricks": ["sit", "bow"]}]})

    assert Dog.objects.get().tricks == []


@pytest.mark.any_database
def test_a_failure_says_what_differs_and_after_which_events() -> None:
    with pytest.raises(AssertionError) as raised:
        given(REGISTERED).when(SIT).then(
            Dog(id=ID, name="Fido", tricks=["bow"]),
            Dog(id=Aggregate.create_id(), name="Rex"),
            SchoolCounts(dogs=1, tricks=1),
        )

    head, changed, missing, *events = str(raised.value).splitlines()
    assert head == "The rows are not those that were expected:"
    assert changed == (
        f"  training_school.Dog id={ID!r}, tricks: expected ['bow'], found ['sit']"
    )
    assert missing.startswith("  training_school.Dog: expected alone: (id=UUID(")
    assert missing.endswith("name='Rex', tricks=[])")
    assert events == [
        "Events:",
        "  given Dog.Registered(name='Fido')",
        "  when Dog.TrickAdded(trick='sit')",
    ]


@pytest.mark.any_database
def test_rows_that_were_not_expected_are_shown() -> None:
    with pytest.raises(AssertionError) as raised:
        given(projection=TrainingSchoolProjection).when(REGISTERED).then()

    lines = str(raised.value).splitlines()
    assert f"found alone: (id={ID!r}, name='Fido', tricks=[])" in lines[1]
    assert "training_school.SchoolCounts: found alone: (" in lines[2]


def test_rows_of_a_model_in_any_order_are_alike() -> None:
    others = [EventFactory(domain.Dog).Registered(name=name) for name in ("A", "B")]

    given(*others).when(*others[:0]).then({Dog: [{"name": "B"}, {"name": "A"}]})


class View(DjangoTrackingRecorder):
    """Each instance stands for one run."""

    read_models = (Owner, Animal, Visit)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.seen = 0
        self.known: dict[Any, Animal] = {}


class Visits(Projection[View]):
    topics = (get_topic(domain.Dog.Registered), get_topic(domain.Dog.TrickAdded))

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        raise NotImplementedError

    @process_event.register
    def registered(self, event: domain.Dog.Registered, tracking: Tracking) -> None:
        with self.view.atomic(tracking):
            self.view.rows(Animal).add(Animal(id=event.originator_id, name=event.name))

    @process_event.register
    def added(self, event: domain.Dog.TrickAdded, tracking: Tracking) -> None:
        with self.view.atomic(tracking):
            if event.trick == "bite":
                raise ValueError("it bites")
            Visit.objects.create(animal_id=event.originator_id, number=1)
            self.view.rows(Animal).get(event.originator_id).tricks.append(event.trick)


class Batched(Visits):
    """Does other things where an event is the third one of its batch, or alone."""

    count = 0
    batch: Any = None

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        with self.view.atomic(tracking):
            batch = self.view._current.batch
            self.count = self.count + 1 if batch is self.batch else 1
            self.batch = batch
            if self.count == 3:
                Owner.objects.create(name="third")
            if getattr(domain_event, "trick", "") == "bite" and self.count == 1:
                raise ValueError("it is alone")


@pytest.fixture
def registered() -> Iterator[None]:
    for each in (Visits, Batched):
        registry.register(each, application_class=TrainingSchool, view_class=View)
    yield
    for each in (Visits, Batched):
        registry.unregister(each.name)


def test_keys_and_times_that_nobody_chooses_do_not_count(registered: None) -> None:
    given(REGISTERED, projection=Visits).when(SIT, BOW).then(
        {Visit: [{"animal": ID}, {"animal": Animal(id=ID)}]},
        Animal(id=ID, name="Fido", tricks=["sit", "bow"]),
    )
    given(REGISTERED, projection=Visits).when(SIT).then(Visit(animal_id=ID, number=1))


@pytest.mark.any_database
def test_what_depends_on_batches_is_found(registered: None) -> None:
    with pytest.raises(AssertionError) as raised:
        given(REGISTERED, projection=Batched).when(SIT, BOW).then({Owner: []})

    head, line, *events = str(raised.value).splitlines()
    assert head == "Processed in one batch other rows are left:"
    assert line == ("  rows_app.Owner: in one batch alone: (name='third', visits=0)")
    assert len(events) == 4

    bite = EventFactory(domain.Dog).TrickAdded(trick="bite")
    with pytest.raises(AssertionError, match="one by one it fails, in one batch it"):
        given(REGISTERED, projection=Batched).when(bite).then({Owner: []})


@pytest.mark.any_database
def test_a_handler_that_fails(registered: None) -> None:
    bite = EventFactory(domain.Dog).TrickAdded(trick="bite")
    when = given(REGISTERED, projection=Visits).when(SIT, bite)

    when.then_raises(ValueError, "it bites")
    with pytest.raises(EventProcessingError, match="it bites"):
        when.then({Owner: []})
    with pytest.raises(AssertionError, match="one by one has raised ValueError"):
        when.then_raises(KeyError)
    with pytest.raises(AssertionError, match="in which 'it barks' is not found"):
        when.then_raises(ValueError, "it barks")
    with pytest.raises(AssertionError, match="raised nothing, but was to raise Value"):
        given(REGISTERED, projection=Visits).when(SIT).then_raises(ValueError)


@pytest.mark.any_database
def test_events_that_the_projection_does_not_get_are_pointed_out() -> None:
    other = Puppy("Rex").pending_events

    with pytest.raises(AssertionError) as raised:
        given(REGISTERED).when(other).then(
            Dog(id=ID, name="Rex", tricks=[]), SchoolCounts(dogs=1)
        )

    assert str(raised.value).splitlines()[-1] == (
        "  when Puppy.Begun(name='Rex'), of no topic of the projection"
    )


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ((), "0 registered projections have no model among their read_models"),
        ((Owner(name="A"),), "0 registered projections have Owner among"),
        (({Dog: [{"nme": 1}]},), "Dog has no field nme; it has id, name, tricks"),
        (({Dog: [{"id": 1.5}]},), "Dog.id cannot be 1.5"),
    ],
)
def test_expectations_that_cannot_be_are_refused(expected: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        given(REGISTERED).when(SIT).then(*expected)


class Puppy(Aggregate):
    INITIAL_VERSION = 0

    @event("Begun")
    def __init__(self, name: str) -> None:
        self.name = name
        self.toys: list[str] = []
        self.hidden = 0

    @event("ToyGiven")
    def give(self, toy: str) -> None:
        self.toys.append(toy)

    def give_all(self, *toys: str) -> None:
        for toy in toys:
            self.give(toy)
        if len(self.toys) > 2:
            raise ValueError("too many toys")

    def hide(self) -> None:
        self.give("bone")
        self.hidden += 1


puppy = EventFactory(Puppy)
BEGUN = puppy.Begun(name="Rex")
BALL, BONE = puppy.ToyGiven(toy="ball"), puppy.ToyGiven(toy="bone")


@pytest.mark.any_database
def test_an_aggregate_decides() -> None:
    given(BEGUN, BALL).when(lambda rex: rex.give("bone")).then(BONE)
    given(BEGUN).when(lambda rex: None).then()
    new = EventFactory(domain.Dog).Registered(name="Fido")
    given(application=TrainingSchool).when(lambda: domain.Dog("Fido")).then(new)


@pytest.mark.any_database
def test_a_decision_that_is_another_one_is_shown() -> None:
    with pytest.raises(AssertionError) as raised:
        given(BEGUN).when(lambda rex: rex.give_all("bone", "stick")).then(BALL)

    assert str(raised.value).splitlines() == [
        "The events are not those that were expected:",
        "  Puppy.ToyGiven, toy: expected 'ball', found 'bone'",
        "  found alone: Puppy.ToyGiven(toy='stick')",
        "Events:",
        "  given Puppy.Begun(name='Rex')",
    ]
    with pytest.raises(AssertionError, match=r"expected Dog.*, found Puppy.ToyGiven"):
        given(BEGUN).when(lambda rex: rex.give("bone")).then(SIT)
    with pytest.raises(AssertionError, match=r"expected alone: Puppy\.ToyGiven"):
        given(BEGUN).when(lambda rex: None).then(BALL)


@pytest.mark.any_database
def test_what_events_do_not_tell_is_found() -> None:
    with pytest.raises(AssertionError) as raised:
        given(BEGUN).when(lambda rex: rex.hide()).then(
            EventFactory(Puppy, id=puppy.id)(
                Puppy.ToyGiven, toy="bone", originator_version=1
            )
        )

    assert str(raised.value).splitlines()[:2] == [
        "When it is loaded, the aggregate is another one:",
        "  hidden: was 1, is 0",
    ]


@pytest.mark.any_database
def test_a_command_is_refused() -> None:
    class RefusedError(Exception):
        pass

    def refuse(rex: Puppy) -> None:
        raise RefusedError("no more toys")

    given(BEGUN).when(refuse).then_raises(RefusedError, "no more")
    with pytest.raises(AssertionError, match="has raised nothing"):
        given(BEGUN).when(lambda rex: None).then_raises(RefusedError)
    with pytest.raises(AssertionError, match="raised ValueError after events"):
        given(BEGUN).when(lambda rex: rex.give_all("a", "b", "c")).then_raises(
            ValueError
        )
    with pytest.raises(TypeError, match="returns a new aggregate"):
        given().when(lambda: None).then()
