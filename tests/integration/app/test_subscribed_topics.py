"""What projections ask for: checked, and also under former names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Snapshot
from eventsourcing.persistence import StoredEvent, Tracking
from eventsourcing.projection import Projection
from eventsourcing.utils import get_topic, register_topic

from django_esdb.checks.topics import check_topics
from django_esdb.exceptions import ConfigurationError
from django_esdb.registry import Registration, registry
from django_esdb.runner.projection_runner import ProjectionRunner
from django_esdb.topics.subscribed import class_of, subscribed_topics
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from example_project.training_school.models import Dog as DogRow
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)
from tests.support.supervising import catch_up

REGISTERED = get_topic(Dog.Registered)
TRICK_ADDED = get_topic(Dog.TrickAdded)

Register = Callable[[type[Projection[Any]]], Registration]


@pytest.fixture
def register() -> Iterator[Register]:
    """Register a projection until the test ends."""
    names = []

    def register(projection_class: type[Projection[Any]]) -> Registration:
        registry.register(
            projection_class,
            application_class=TrainingSchool,
            view_class=View,
        )
        names.append(projection_class.name)
        return registry.get(projection_class.name)

    yield register
    for name in names:
        registry.unregister(name)


class View(TrainingSchoolView):
    # The example's projection has them.
    read_models = ()


class Handling(Projection[Any]):
    topics = (REGISTERED, TRICK_ADDED)

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Nothing is to be done."""

    @process_event.register
    def registered(self, event: Dog.Registered, tracking: Tracking) -> None:
        self.view.register_dog(event.originator_id, event.name, tracking)


class CatchingAll(Handling):
    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.insert_tracking(tracking)

    @process_event.register
    def registered(self, event: Dog.Registered, tracking: Tracking) -> None:
        self.view.register_dog(event.originator_id, event.name, tracking)


def found(register: Register, topics: Any, base: Any = Handling) -> list[str]:
    register(type(base)("Checked", (base,), {"topics": topics}))
    return [str(message.id) for message in check_topics() if "Checked" in message.msg]


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        (REGISTERED, ["django_esdb.E020"]),
        ((Dog.Registered,), ["django_esdb.E020"]),
        ((REGISTERED, None), ["django_esdb.E020"]),
        ({REGISTERED}, ["django_esdb.E020"]),
        ((REGISTERED, f"{REGISTERED}ed"), ["django_esdb.E021"]),
        ((REGISTERED, "no.such.module:Dog"), ["django_esdb.E021"]),
        ((REGISTERED, "example_project.training_school"), ["django_esdb.E021"]),
        ((REGISTERED, TRICK_ADDED), ["django_esdb.W020"]),
        ((TRICK_ADDED,), ["django_esdb.W020", "django_esdb.W021"]),
        ((REGISTERED, get_topic(Dog)), ["django_esdb.E025"]),
        ((REGISTERED, get_topic(Snapshot)), ["django_esdb.E025"]),
        ((REGISTERED, get_topic(DogRow)), ["django_esdb.E025"]),
        ((REGISTERED, "builtins:str"), ["django_esdb.E025"]),
        ((REGISTERED,), []),
        ([REGISTERED], []),
        ((), []),
    ],
)
def test_topics_are_checked(
    register: Register, topics: Any, expected: list[str]
) -> None:
    assert found(register, topics) == expected


class OfAnyKind(Handling):
    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Nothing is to be done."""

    @process_event.register
    def of_a_dog(self, event: Dog.Event, tracking: Tracking) -> None:
        self.view.insert_tracking(tracking)


def test_topic_of_a_base_class_is_none_of_the_events_that_derive_from_it(
    register: Register,
) -> None:
    """The library records no event of ``Dog.Event`` itself."""
    base = get_topic(Dog.Event)
    assert found(register, (base,), OfAnyKind) == ["django_esdb.W025"]
    [message] = [each.msg for each in check_topics() if each.id == "django_esdb.W025"]
    assert REGISTERED in message
    assert TRICK_ADDED in message


def test_derived_events_that_are_asked_for_are_not_missed(register: Register) -> None:
    # Other tests' modules have some, too, if they are imported. Some classes were only
    # there while their aggregate's was made.
    every = {
        each
        for each in _with_derived(Dog.Event)
        if class_of(f"{each.__module__}:{each.__qualname__}") is each
    }
    assert {Dog.Event, Dog.Registered, Dog.TrickAdded} <= every
    assert found(register, tuple(map(get_topic, every)), OfAnyKind) == []


def _with_derived(cls: type) -> set[type]:
    return {cls}.union(*map(_with_derived, cls.__subclasses__()))


def test_other_classes_count_as_events_where_the_settings_say_so(
    register: Register, settings: Any
) -> None:
    topics = (get_topic(DogRow),)
    settings.ESDB_EVENT_BASES = topics
    assert "django_esdb.E025" not in found(register, topics, CatchingAll)


def test_handler_of_all_other_events_counts_as_theirs(register: Register) -> None:
    assert found(register, (REGISTERED, TRICK_ADDED), CatchingAll) == []


def test_example_has_a_handler_for_each_topic() -> None:
    assert list(check_topics()) == []


@pytest.mark.any_database
@pytest.mark.django_db
@pytest.mark.parametrize(
    "topics", [REGISTERED, (Dog.Registered,), ("nowhere:Dog",), (get_topic(Dog),)]
)
def test_worker_refuses_topics_that_cannot_be_meant(
    school: TrainingSchool, register: Register, topics: Any
) -> None:
    register(type("Refused", (Handling,), {"topics": topics}))

    with pytest.raises(CommandError, match=r"Refused.*topic") as refused:
        call_command("runprojections", "Refused", until_caught_up=True)
    assert refused.value.returncode == 2


@pytest.mark.any_database
@pytest.mark.django_db
def test_runner_refuses_topics_that_are_no_tuple(
    school: TrainingSchool, register: Register
) -> None:
    registration = register(type("Refused", (Handling,), {"topics": REGISTERED}))

    with pytest.raises(ConfigurationError, match="must be a tuple"):
        ProjectionRunner(
            application_class=TrainingSchool,
            projection_class=registration.projection_class,
            view_class=registration.view_class,
            env=registration.env(),
        )


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_worker_warns_of_events_without_a_handler(
    school: TrainingSchool, register: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    register(type("Warned", (Handling,), {"topics": (REGISTERED, TRICK_ADDED)}))

    call_command("runprojections", "Warned", until_caught_up=True)

    assert re.search(
        "Warned: events of .*TrickAdded.* no handler", capsys.readouterr().err
    )


@pytest.mark.usefixtures("former_names")
def test_former_names_belong_to_the_topics() -> None:
    import example_project.training_school.domain as module

    register_topic("kennel:Puppy.Born", Dog.Registered)
    register_topic("kennel:Hound", Dog)
    register_topic("dogs", module)
    register_topic("kennel:Cat", TrainingSchool)

    class Checked(Handling):
        topics = (REGISTERED,)

    assert set(subscribed_topics(Checked)) == {
        REGISTERED,
        "kennel:Puppy.Born",
        "kennel:Hound.Registered",
        "dogs:Dog.Registered",
        "training_school:Dog.Registered",
    }
    Checked.topics = ("kennel:Puppy.Born",)
    assert REGISTERED in subscribed_topics(Checked)
    Checked.topics = ()
    assert subscribed_topics(Checked) == ()


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("former_names")
def test_old_events_of_a_renamed_class_are_delivered(
    school: TrainingSchool, register: Register
) -> None:
    register_topic("kennel:Puppy.Born", Dog.Registered)
    school.register("Rex")
    [stored] = school.recorder.select_events(Dog.create_id("Rex"))
    school.recorder.insert_events(
        [
            StoredEvent(
                Dog.create_id("Fido"), 0, "kennel:Puppy.Born", _renamed(school, stored)
            )
        ]
    )

    class Renamed(TrainingSchoolProjection):
        topics = (REGISTERED,)

    catch_up(register(Renamed))

    assert set(DogRow.objects.values_list("name", flat=True)) == {"Rex", "Fido"}


def _renamed(school: TrainingSchool, stored: StoredEvent) -> bytes:
    assert b"Rex" in stored.state
    return stored.state.replace(b"Rex", b"Fido")
