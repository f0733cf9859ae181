"""Aggregates of which snapshots are taken."""

from __future__ import annotations

import json
from typing import ClassVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from tests.support.client_library import EventStoreDBClient


class Counter(Aggregate):
    INITIAL_VERSION = 0
    total = 0

    @event("Increased")
    def increase(self) -> None:
        self.total += 1


class CounterFromOne(Aggregate):
    """The same, whose first event has the version 1."""

    INITIAL_VERSION = 1
    total = 0

    @event("Increased")
    def increase(self) -> None:
        self.total += 1


class Counters(Application[UUID]):
    is_snapshotting_enabled = True


class CountersAtIntervals(Application[UUID]):
    snapshotting_intervals: ClassVar[dict[type, int]] = {Counter: 10}


def saved(app: Application[UUID], count: int) -> Counter:
    """Save an aggregate whose last version is *count*."""
    counter = Counter()
    for _ in range(count):
        counter.increase()
    app.save(counter)
    return counter


def stream_of(app: Application[UUID], counter: Counter) -> str:
    assert app.snapshots is not None
    layout = app.snapshots.recorder.layout  # type: ignore[attr-defined]
    return str(layout.snapshots_stream_name(counter.id))


def versions(client: EventStoreDBClient, stream: str) -> list[int]:
    return [
        json.loads(recorded.metadata)["originator_version"]
        for recorded in client.get_stream(stream)
    ]
