"""Signals of starts, batches, and of having caught up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from django_esdb import signals
from django_esdb.registry import Registration
from django_esdb.runner.batches.reader import BatchReason, EventReader
from django_esdb.subscriptions.received import ReceivedEvent
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.heard_signals import BATCHES, Heard, Picky
from tests.support.supervising import catch_up, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


def test_a_run_from_its_start_to_its_stop(
    school: TrainingSchool, school_projection: Registration, heard: Heard
) -> None:
    for number in range(5):
        last = school.register(f"dog {number}")
    with running(school_projection, batch_size=2):
        heard.wait_for("projection_caught_up")

    assert heard.names() == [
        "lease_acquired",
        "projection_started",
        "projection_caught_up",
        "lease_released",
        "projection_stopped",
    ]
    assert heard.of("projection_started") == [{"position": None}]
    assert heard.has_reached("projection_caught_up", last)
    assert heard.has_reached("projection_stopped", last)
    batches = heard.of("batch_committed")
    # Without those that only passed over what others have written.
    batches = [batch for batch in batches if batch["events"]]
    assert [batch["events"] for batch in batches] == [2, 2, 1]
    assert batches[-1]["position"] == last
    assert {batch["reason"] for batch in batches[:2]} == {"size"}
    for batch in batches:
        assert 0 < batch["handler_seconds"] < batch["seconds"]
        assert 0 < batch["commit_seconds"] < batch["seconds"]
        parts = batch["handler_seconds"] + batch["commit_seconds"]
        assert parts <= batch["seconds"]
    (acquired,) = heard.of("lease_acquired")
    assert acquired["owner"]
    assert not acquired["was_abandoned"]


@pytest.mark.any_database
def test_each_batch_is_told_of_before_it_is_processed(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    there = school.add_trick("Fido", "burn")
    error = RuntimeError("cannot")
    Picky.errors["burn"] = [error]

    catch_up(picky(retries=2))

    # Those without events pass over what others have written.
    told = [
        (name, each)
        for name, each in heard.all
        if name in BATCHES and each["events"] > 0
    ]
    ends = {"batch_committed", "batch_undone"}
    assert [name == "batch_began" for name, _ in told] == [True, False] * (
        len(told) // 2
    )
    assert {name for name, _ in told[1::2]} == ends
    undone = next(each for name, each in told if name == "batch_undone")
    assert undone["error"] is error
    assert undone["position"] <= there
    for (_, began), (name, ended) in zip(told[::2], told[1::2], strict=True):
        assert began["events"] >= ended["events"]
        assert began["position"] <= ended["position"]
        if name == "batch_committed":
            assert began["reason"] == ended["reason"]


@pytest.mark.any_database
def test_a_position_that_is_passed_over_took_no_handlers_time(
    school: TrainingSchool, registration: MakeRegistration, heard: Heard
) -> None:
    class Other(TrainingSchoolProjection):
        topics = ("nothing",)

    school.register("Fido")
    with running(registration(projection_class=Other)):
        batch = heard.wait_for("batch_committed")

    assert heard.of("batch_began") == []
    assert batch["handler_seconds"] == 0
    assert batch["commit_seconds"] == batch["seconds"]


@pytest.mark.any_database
def test_it_has_caught_up_once_for_each_time_that_it_was_behind(
    school: TrainingSchool, school_projection: Registration, heard: Heard
) -> None:
    with running(school_projection):
        heard.wait_for("projection_caught_up")
        for number in range(3):
            # One by one, so that it is never behind.
            school.register(f"dog {number}")
            wait_until(lambda count=number + 1: Dog.objects.count() == count)

    assert heard.names().count("projection_caught_up") == 1


@pytest.mark.any_database
def test_it_has_not_caught_up_with_what_came_since_it_last_looked(
    school: TrainingSchool,
    school_projection: Registration,
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last = school.register("Fido")
    take = EventReader.take
    looked = []

    def take_nothing_at_first(
        reader: EventReader, idle_seconds: float
    ) -> tuple[list[ReceivedEvent], BatchReason]:
        looked.append(reader)
        if len(looked) > 1 or reader._buffer.is_live:
            # Where it is live this early, nothing comes in between.
            return take(reader, idle_seconds)
        wait_until(lambda: reader._buffer.is_live)
        return [], BatchReason.IDLE

    monkeypatch.setattr(EventReader, "take", take_nothing_at_first)
    with running(school_projection):
        heard.wait_for("projection_caught_up")

    assert heard.has_reached("projection_caught_up", last)


@pytest.mark.any_database
def test_nothing_is_processed_before_the_start_is_told(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    is_committed = threading.Event()
    was_committed: list[bool] = []

    def started(**arguments: Any) -> None:
        was_committed.append(is_committed.wait(0.5))

    def committed(**arguments: Any) -> None:
        is_committed.set()

    signals.projection_started.connect(started)
    signals.batch_committed.connect(committed)
    try:
        catch_up(school_projection)
    finally:
        signals.projection_started.disconnect(started)
        signals.batch_committed.disconnect(committed)

    assert was_committed == [False]
    assert is_committed.is_set()


@pytest.mark.any_database
def test_who_ends_when_it_has_caught_up_says_so_before(
    school: TrainingSchool, school_projection: Registration, heard: Heard
) -> None:
    last = school.register("Fido")
    catch_up(school_projection)

    assert heard.names() == [
        "lease_acquired",
        "projection_started",
        "projection_caught_up",
        "lease_released",
        "projection_stopped",
    ]
    assert heard.has_reached("projection_caught_up", last)


@pytest.mark.any_database
def test_a_position_that_passes_over_others_events_is_a_batch_without_events(
    school: TrainingSchool, registration: MakeRegistration, heard: Heard
) -> None:
    class Other(TrainingSchoolProjection):
        topics = ("nothing",)

    last = school.register("Fido")
    with running(registration(projection_class=Other)):
        batch = heard.wait_for("batch_committed")

    assert batch["position"] >= last
    assert (batch["events"], batch["reason"]) == (0, "idle")
