from __future__ import annotations

from typing import Any

import pytest
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection
from eventsourcing.utils import get_topic

from django_esdb.testing import assert_projection_complete
from example_project.training_school.domain import Dog
from example_project.training_school.projections import TrainingSchoolProjection


class Cat(Aggregate):
    @event("Named")
    def __init__(self, name: str) -> None:
        self.name = name


class Half(Projection[Any]):
    topics = (get_topic(Dog.Registered), get_topic(Dog.TrickAdded))

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Nothing."""

    @process_event.register
    def dog_registered(self, event: Dog.Registered, tracking: Tracking) -> None:
        raise RuntimeError

    @process_event.register
    def cat_named(self, event: Cat.Named, tracking: Tracking) -> None:
        raise RuntimeError


class Everything(Projection[Any]):
    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        raise NotImplementedError

    process_event.register(Dog.Registered)(Half.dog_registered)


class Nothing(Projection[Any]):
    topics = (get_topic(Dog.Registered),)

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Nothing."""


class Default(Nothing):
    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.count(tracking)


class Plain(Nothing):
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        if isinstance(domain_event, Dog.Registered):
            self.view.count(tracking)


class Wrong(Half):
    topics = get_topic(Dog.Registered)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("projection_class", "aggregates"),
    [
        (TrainingSchoolProjection, ()),
        (TrainingSchoolProjection, (Dog,)),
        (Default, ()),
    ],
)
def test_a_complete_projection_passes(
    projection_class: type[Projection[Any]], aggregates: Any
) -> None:
    assert_projection_complete(projection_class, *aggregates)


REGISTERED, ADDED = get_topic(Dog.Registered), get_topic(Dog.TrickAdded)


@pytest.mark.parametrize(
    ("projection_class", "aggregates", "lines"),
    [
        (
            Half,
            (),
            [
                f"Projection Half: events of topic '{ADDED}' have no handler.",
                "Projection Half: the handler of Cat.Named is never called, since no "
                "topic is of that class.",
            ],
        ),
        (
            TrainingSchoolProjection,
            (Cat,),
            [f"events of '{get_topic(Cat.Named)}' are of no topic of it"],
        ),
        (
            Everything,
            (),
            ["it has no topics, so it gets all events: name the aggregates as well"],
        ),
        (
            Everything,
            (Dog,),
            [f"Projection Everything: events of topic '{ADDED}' have no handler."],
        ),
        (Nothing, (), [f"events of topic '{REGISTERED}' have no handler"]),
        (
            Plain,
            (),
            [
                "process_event is no singledispatchmethod, so it cannot be told which "
                "events it handles: try them with given()"
            ],
        ),
        (
            Wrong,
            (Dog,),
            [f"topics must be a tuple of strings, but is of type str: '{REGISTERED}'"],
        ),
    ],
)
def test_what_is_missing_is_listed(
    projection_class: type[Projection[Any]], aggregates: Any, lines: list[str]
) -> None:
    with pytest.raises(AssertionError) as raised:
        assert_projection_complete(projection_class, *aggregates)

    head, *listed = str(raised.value).split("\n  ")
    assert head == f"{projection_class.__name__} is not complete:"
    assert listed == lines
