from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Literal
from uuid import UUID, uuid4

import pytest
from eventsourcing.domain import Aggregate, BaseAggregate, CanMutateAggregate, event

from django_esdb.events.aggregate_events import event_classes
from django_esdb.testing import EventFactory, fixed_clock, fixed_ids, numbered_id
from example_project.training_school.domain import Dog

if TYPE_CHECKING:
    from tests.support.nodes import Unknown  # type: ignore[attr-defined]


class Size(Enum):
    SMALL = "S"
    LARGE = "L"


@dataclass
class Owner:
    name: str
    children: int
    pets: str = "none"


class Puppy(Aggregate):
    class Born(Aggregate.Created):
        weight: Decimal
        size: Size
        sex: Literal["f", "m"]
        owner: Owner
        names: list[str]
        on: date
        chip: int | None
        nickname: str = "Pup"

    @event("Fed")
    def feed(self, grams: int) -> None:
        pass

    class Sold(Aggregate.Event):
        to: Unknown


class Kitten(Aggregate):
    name: str


class Cat(BaseAggregate[str]):
    class Event(CanMutateAggregate[str]):
        pass


class Parent(Aggregate):
    @event("Begun")
    def __init__(self) -> None:
        pass

    @event("Done")
    def do(self) -> None:
        pass


class Child(Parent):
    @event("Undone")
    def undo(self) -> None:
        pass


def names(aggregate_class: type) -> list[str]:
    return [each.__name__ for each in event_classes(aggregate_class)]


def test_an_aggregate_has_the_events_that_it_can_record() -> None:
    assert names(Dog) == ["Registered", "TrickAdded"]
    assert names(Puppy) == ["Born", "Sold", "Fed"]
    assert names(Kitten) == ["Created"]
    assert names(Child) == ["Begun", "Undone", "Done"]
    assert names(Cat) == []


def test_only_what_matters_has_to_be_said() -> None:
    fido = EventFactory(Dog)
    first = fido.Registered(name="Fido")
    second = fido.TrickAdded(trick="sit")
    third = fido(Dog.TrickAdded)

    assert first.mutate(None).name == "Fido"
    assert {first.originator_id, second.originator_id} == {Dog.create_id("Fido")}
    assert [each.originator_version for each in (first, second, third)] == [0, 1, 2]
    assert third.trick == "trick"
    dog = third.mutate(second.mutate(first.mutate(None)))
    assert dog.tricks == ["sit", "trick"]


def test_values_are_made_up_from_the_signature() -> None:
    born = EventFactory(Puppy).Born(weight=Decimal(2))

    assert born.weight == Decimal(2)
    assert born.size is Size.SMALL
    assert born.sex == "f"
    assert born.owner == Owner("name", 1)
    assert born.names == []
    assert isinstance(born.on, date)
    assert born.chip is None
    assert born.nickname == "Pup"


def test_an_id_or_a_version_can_be_given() -> None:
    own = uuid4()
    puppy = EventFactory(Puppy, id=own)
    event = puppy.Fed(originator_version=7)

    assert (event.originator_id, event.originator_version) == (own, 7)
    assert puppy.Fed().originator_version == 8
    # A later event alone has some ID.
    assert isinstance(EventFactory(Dog).TrickAdded().originator_id, UUID)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: EventFactory(Dog).Renamed(),
            AttributeError,
            "Dog has no event Renamed; it has Registered, TrickAdded",
        ),
        (
            lambda: EventFactory(Dog).Registered(nme="Fido"),
            TypeError,
            "Dog.Registered has no nme; it has .*name",
        ),
        (
            lambda: EventFactory(Puppy).Sold(),
            TypeError,
            "say to=... of Puppy.Sold: no value can be made up",
        ),
        (
            lambda: EventFactory(Cat)(Cat.Event),
            TypeError,
            "say EventFactory.Cat, id=",
        ),
    ],
)
def test_what_cannot_be_made_is_said(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_clock_stands_still_until_it_is_advanced() -> None:
    noon = datetime(2021, 5, 4, 12, tzinfo=UTC)
    with fixed_clock(noon) as clock:
        first = Kitten(name="Tom")
        assert first.created_on == noon
        assert EventFactory(Dog).Registered().timestamp == noon
        clock.advance(90)
        assert Kitten(name="Tim").created_on == datetime(2021, 5, 4, 12, 1, 30, 0, UTC)
    assert Kitten(name="Tam").created_on.year > 2021
    with (
        pytest.raises(ValueError, match="time zone"),
        fixed_clock(datetime(2021, 5, 4)),
    ):
        pass


def test_ids_are_counted() -> None:
    for _ in range(2):
        with fixed_ids(f"{__name__}.uuid4"):
            assert Kitten(name="Tom").id == numbered_id(1)
            assert uuid4() == numbered_id(2)
            assert EventFactory(Kitten).Created().originator_id == numbered_id(3)
    assert Kitten(name="Tom").id != numbered_id(1)
    assert numbered_id(1).version == 4
