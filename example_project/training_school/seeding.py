"""A school to look at: the same dogs with the same tricks each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eventsourcing.application import AggregateNotFoundError

from example_project.training_school import domain
from example_project.training_school.application import TrainingSchool

NAMES = (
    *(
        "Frida",
        "Amber",
        "Bonnie",
        "Lotte",
        "Marlow",
        "Chester",
        "Dottie",
        "Milo",
        "Rosie",
    ),
    *(
        "Cooper",
        "Willow",
        "Truffle",
        "Cleo",
        "Teddy",
        "Poppy",
        "Odin",
        "Rollo",
        "Bruno",
    ),
    *("Hazel", "Archie", "Nala", "Winston", "Maple", "Ziggy", "Pepper", "Otto"),
    *("Juno", "Biscuit", "Mabel", "Hugo", "Olive", "Scout", "Ginger", "Rufus"),
    *("Clover", "Monty", "Freya", "Bramble", "Tilly", "Ernie"),
)
EPITHETS = (
    *("the Brave", "the Gentle", "the Swift", "the Sleepy", "the Curious"),
    *("the Loud", "the Patient", "the Fluffy", "the Hungry", "the Wise"),
)
TRICKS = (
    *("sit", "lie down", "roll over", "shake hands", "fetch", "spin", "bow"),
    *("play dead", "crawl", "speak", "jump through a hoop", "walk backwards"),
    *("find the keys", "ring the bell", "weave", "balance a biscuit", "take a nap"),
    *("close the door", "catch", "wave"),
)

# More in one append might be more than the event store takes at once.
_EVENTS_PER_SAVE = 1000


@dataclass(frozen=True, slots=True)
class Seeded:
    """How much was recorded, besides what was there."""

    dogs: int
    tricks: int


def seed(school: TrainingSchool, *, dogs: int, tricks: int) -> Seeded:
    """
    Register dogs and teach them tricks, as far as that is not done yet.

    Idempotent: what the same dogs know already is not recorded again, also
    when an earlier call was interrupted. Tricks that others taught them stay.

    Args:
        school: The application to record with.
        dogs: How many dogs there will be.
        tricks: How many tricks each of them will know.

    Raises:
        eventsourcing.persistence.PersistenceError: The event store cannot be
            used, or another writer changed a dog at the same moment.
    """
    registered = taught = 0
    for number in range(dogs):
        name = dog_name(number)
        try:
            dog: domain.Dog = school.repository.get(domain.Dog.create_id(name))
        except AggregateNotFoundError:
            dog = domain.Dog(name)
            registered += 1
        for trick in _tricks(number, tricks):
            if trick not in dog.tricks:
                dog.add_trick(trick)
                taught += 1
            if len(dog.pending_events) >= _EVENTS_PER_SAVE:
                school.save(dog)
        school.save(dog)
    return Seeded(dogs=registered, tricks=taught)


def dog_name(number: int) -> str:
    """Return the name of a dog, counted from 0; all of them differ."""
    round_, place = divmod(number, len(NAMES))
    if round_ == 0:
        return NAMES[place]
    generation, epithet = divmod(round_ - 1, len(EPITHETS))
    name = f"{NAMES[place]} {EPITHETS[epithet]}"
    return f"{name} {generation + 1}" if generation else name


def _tricks(number: int, count: int) -> Iterator[str]:
    """Yield different tricks, beginning with another one for each dog."""
    for index in range(count):
        level, place = divmod(index, len(TRICKS))
        trick = TRICKS[(number * 7 + place) % len(TRICKS)]
        yield f"{trick}, level {level + 1}" if level else trick
