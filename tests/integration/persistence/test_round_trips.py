from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from eventsourcing_eventstoredb.protocol.batching import BatchCall
from eventsourcing_eventstoredb.protocol.retrying import connected
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer


class Dog(Aggregate):
    INITIAL_VERSION = 0

    def __init__(self) -> None:
        self.tricks: list[str] = []

    @event("TrickAdded")
    def add_trick(self, trick: str) -> None:
        self.tricks.append(trick)


@pytest.fixture
def application(server: EmbeddedServer) -> Iterator[Application]:
    env = {
        "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
        "EVENTSTOREDB_URI": server.uri,
    }
    with closing(Application(env=env)) as application:
        yield application


@pytest.fixture
def calls(application: Application, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that reach the server's stub, by name, and the batches."""
    made: list[str] = []
    stub = connected(application.recorder.client).streams  # type: ignore[attr-defined]

    def counted(name: str) -> object:
        original = getattr(stub, name)

        def call(*args: object, **kwargs: object) -> object:
            made.append(name)
            return original(*args, **kwargs)

        return call

    for name in ("Read", "Append", "BatchAppend"):
        monkeypatch.setattr(stub, name, counted(name))
    begin = BatchCall.begin

    def begin_counted(call: BatchCall, *args: Any) -> object:
        made.append("batch")
        return begin(call, *args)

    monkeypatch.setattr(BatchCall, "begin", begin_counted)
    return made


def test_getting_an_aggregate_is_one_call(
    application: Application, calls: list[str]
) -> None:
    dog = Dog()
    for number in range(9):
        dog.add_trick(str(number))
    application.save(dog)
    calls.clear()

    loaded = application.repository.get(dog.id)

    assert len(loaded.tricks) == 9
    assert calls == ["Read"]


def test_saving_an_aggregate_again_is_one_batch_of_a_call_that_is_open(
    application: Application, calls: list[str]
) -> None:
    dog = Dog()
    application.save(dog)
    dog.add_trick("roll over")
    calls.clear()

    application.save(dog)

    assert calls == ["batch"]


@pytest.mark.parametrize("bounds", [{}, {"lte": 3}, {"gt": 1}, {"gt": 1, "lte": 3}])
@pytest.mark.parametrize("limit", [None, 1])
def test_descending_selection_is_one_call(
    application: Application,
    calls: list[str],
    bounds: dict[str, int],
    limit: int | None,
) -> None:
    dog = Dog()
    for number in range(5):
        dog.add_trick(str(number))
    application.save(dog)
    calls.clear()

    selected = application.recorder.select_events(
        dog.id, desc=True, limit=limit, **bounds
    )

    assert selected[0].originator_version == bounds.get("lte", 5)
    assert calls == ["Read"]


def test_selection_of_notifications_is_one_call(
    application: Application, calls: list[str]
) -> None:
    application.save(Dog())
    calls.clear()
    recorder = application.recorder
    assert isinstance(recorder, EventStoreDBApplicationRecorder)

    assert len(recorder.select_notifications(None, 10)) == 1
    assert recorder.select_events(uuid4()) == []
    assert calls == ["Read", "Read"]
