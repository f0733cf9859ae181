"""An application on another store, whose events and snapshots are copied."""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID

from django.core.management import call_command
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import StoredEvent

# A store of its own for each kind, but for the one that is in memory.
STORES = ("sqlite", "postgresql", "eventsourcing-django")

ZOO = f"{__name__}:Zoo"


class Lion(Aggregate):
    """Begins at version 0, as EventStoreDB's streams do."""

    INITIAL_VERSION = 0

    def __init__(self) -> None:
        self.meals: list[str] = []

    @event("Fed")
    def feed(self, meal: str) -> None:
        self.meals.append(meal)


class Zebra(Aggregate):
    """Begins at version 1, as the library's aggregates do unless they say otherwise."""

    def __init__(self) -> None:
        self.meals: list[str] = []

    @event("Fed")
    def feed(self, meal: str) -> None:
        self.meals.append(meal)


class Zoo(Application[UUID]):
    is_snapshotting_enabled = True


def assignments(old_store: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in old_store.items()]


def copy(old_store: dict[str, str], *options: str) -> list[str]:
    """Run the command; return its lines."""
    out = io.StringIO()
    call_command(
        "copyevents", ZOO, "--from", *assignments(old_store), *options, stdout=out
    )
    return out.getvalue().splitlines()


def fill(zoo: Zoo, animals: int = 4, meals: int = 3) -> list[Lion | Zebra]:
    """Save events of several animals in turn, and snapshots of two."""
    herd: list[Lion | Zebra] = [
        Zebra() if number % 2 else Lion() for number in range(animals)
    ]
    for each in herd:
        zoo.save(each)
    for meal in range(meals):
        for each in herd:
            each.feed(f"meal {meal}")
        for each in reversed(herd):
            zoo.save(each)
    for each in herd[:2]:
        zoo.take_snapshot(each.id, version=each.version - 1)
        zoo.take_snapshot(each.id)
    return herd


def log(zoo: Zoo) -> list[tuple[Any, str, bytes]]:
    """Return all that is recorded, in order, without versions."""
    found: list[tuple[Any, str, bytes]] = []
    last = None
    while page := zoo.recorder.select_notifications(
        last, 100, inclusive_of_start=False
    ):
        found += [
            (UUID(str(each.originator_id)), each.topic, bytes(each.state))
            for each in page
        ]
        last = page[-1].id
    return found


def snapshots(zoo: Zoo, animal: Lion | Zebra) -> list[StoredEvent]:
    assert zoo.snapshots is not None
    return list(zoo.snapshots.recorder.select_events(animal.id))
