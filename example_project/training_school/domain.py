"""Dogs and the tricks they know: the write model."""

from __future__ import annotations

from importlib.util import find_spec
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.domain import Aggregate, event
from eventsourcing.utils import register_topic

# The module that the school's domain was in before it moved here. Events that
# were recorded then carry its name.
FORMER_MODULE = "training_school"


class Dog(Aggregate):
    # EventStoreDB's streams begin at position 0, and so must versions.
    INITIAL_VERSION = 0

    @staticmethod
    def create_id(name: str) -> UUID:
        """Return the ID of the dog with this name; there is one of each."""
        return uuid5(NAMESPACE_URL, f"/dogs/{name}")

    class Registered(Aggregate.Created):
        name: str

    class TrickAdded(Aggregate.Event):
        trick: str

    @event(Registered)
    def __init__(self, name: str) -> None:
        self.name = name
        self.tricks: list[str] = []

    @event(TrickAdded)
    def add_trick(self, trick: str) -> None:
        self.tricks.append(trick)


if find_spec(FORMER_MODULE) is None:
    register_topic(f"{FORMER_MODULE}:{Dog.__qualname__}", Dog)
