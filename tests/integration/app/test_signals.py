"""Each signal, and what it is sent with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import F
from django.dispatch import Signal
from eventsourcing.persistence import Tracking

from django_esdb import signals
from django_esdb.db.functions import DatabaseTime
from django_esdb.exceptions import (
    EventProcessingError,
    LeaseLostError,
    ProjectionError,
)
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import ProjectionTracking
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from django_esdb.runner import decisions
from django_esdb.runner.batches.reader import BatchReason, EventReader
from django_esdb.subscriptions.received import ReceivedEvent
from eventsourcing_eventstoredb.subscriptions.receiving import Receiver
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.projects import ROOT
from tests.support.supervising import catch_up, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]

ALL = {
    name: value for name, value in vars(signals).items() if isinstance(value, Signal)
}


class Picky(TrainingSchoolProjection):
    """Raises, for the tricks that it is told, what it is told."""

    name = "Picky"
    errors: dict[str, list[Exception]] = {}

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        errors = self.errors.get(getattr(domain_event, "trick", ""))
        if errors:
            raise errors.pop(0)
        super().process_event(domain_event, tracking)


BATCHES = ("batch_began", "batch_committed", "batch_undone")


class Heard:
    """
    What was sent.

    Attributes:
        all: Each signal's name, with its arguments, in order.
    """

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []
        self._receivers = {name: partial(self._note, name) for name in ALL}

    def connect(self) -> None:
        for name, receiver in self._receivers.items():
            ALL[name].connect(receiver)

    def disconnect(self) -> None:
        for name, receiver in self._receivers.items():
            ALL[name].disconnect(receiver)

    def names(self, but: tuple[str, ...] = BATCHES) -> list[str]:
        return [name for name, _ in self.all if name not in but]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [arguments for each, arguments in self.all if each == name]

    def has_reached(self, name: str, last: int) -> bool:
        """Whether it was sent once, at a position that others may have moved on."""
        (sent,) = self.of(name)
        position = sent.pop("position")
        return position >= last and not sent

    def wait_for(self, name: str, count: int = 1) -> dict[str, Any]:
        wait_until(lambda: len(self.of(name)) >= count, f"no {name}: {self.names()}")
        return self.of(name)[count - 1]

    def _note(self, name: str, signal: Signal, sender: Any, **arguments: Any) -> None:
        assert sender.name == arguments.pop("projection")
        assert arguments.pop("application") == "TrainingSchool"
        self.all.append((name, arguments))


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    heard.connect()
    yield heard
    heard.disconnect()


@pytest.fixture
def picky(
    registration: MakeRegistration, monkeypatch: pytest.MonkeyPatch
) -> MakeRegistration:
    """Make a registration of the projection that raises what it is told."""
    monkeypatch.setattr(decisions, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(Picky, "errors", {})

    def make(**options: Any) -> Registration:
        return registration(projection_class=Picky, **options)

    return make


def take_over(owner: str = "other") -> None:
    """Take the lease away, as another process does after a suspension."""
    ProjectionTracking.objects.update(
        token=F("token") + 1, owner=owner, leased_until=DatabaseTime(600)
    )


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


def test_an_event_that_fails_and_then_pauses_its_projection(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    there = school.add_trick("Fido", "burn")
    errors = [RuntimeError("cannot") for _ in range(4)]
    Picky.errors["burn"] = errors
    with running(picky(retries=2)):
        paused = heard.wait_for("projection_paused")
        # Whoever resumes it at once is before its worker, which then has not to wait.
        heard.wait_for("standing_by")
        assert retry_failed_events(picky()).resumed
        wait_until(lambda: list(Dog.objects.get().tricks) == ["burn"])

    assert heard.names((*BATCHES, "projection_caught_up")) == [
        "lease_acquired",
        "projection_started",
        "event_failed",
        "event_failed",
        "event_failed",
        "lease_released",
        "projection_paused",
        "standing_by",
        "lease_acquired",
        "projection_started",
        "lease_released",
        "projection_stopped",
    ]
    assert [each["state"] for each in heard.of("lease_released")] == [
        "paused",
        "stopped",
    ]
    failed = heard.of("event_failed")
    assert [each["failures"] for each in failed] == [1, 2, 3]
    assert [each["is_first"] for each in failed] == [True, False, False]
    assert [each["retries"] for each in failed] == [2, 2, 2]
    assert {each["position"] for each in failed} == {there}
    assert [each["seconds"] for each in failed] == [0.01, 0.02, None]
    assert paused["position"] == there
    assert isinstance(paused["error"], EventProcessingError)
    (waiting,) = heard.of("standing_by")
    assert waiting == {
        "owner": "",
        "reason": str(paused["error"]),
        "is_paused": True,
    }


def test_an_event_that_is_tried_again_with_success(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    there = school.add_trick("Fido", "burn")
    # In the batch and by itself.
    Picky.errors["burn"] = [RuntimeError("cannot"), RuntimeError("cannot")]

    with running(picky(retries=5)):
        heard.wait_for("projection_recovered")

    assert heard.has_reached("projection_recovered", there)
    assert heard.names().index("event_failed") < heard.names().index(
        "projection_recovered"
    )


def test_events_that_are_parked(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    there = school.add_trick("Fido", "burn")
    behind = school.add_trick("Fido", "sit")
    Picky.errors["burn"] = [RuntimeError("cannot")] * 2

    catch_up(picky(on_failure=OnFailure.PARK))

    first, second = heard.of("event_parked")
    assert (first["position"], first["reason"]) == (there, "RuntimeError: cannot")
    assert "TrickAdded" in first["event"]
    assert (second["position"], second["reason"]) == (behind, "")
    (failed,) = heard.of("event_failed")
    assert (failed["failures"], failed["seconds"]) == (1, None)


def test_an_event_that_is_skipped(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    there = school.add_trick("Fido", "burn")
    Picky.errors["burn"] = [RuntimeError("cannot")] * 2

    catch_up(picky(on_failure=OnFailure.SKIP))

    (skipped,) = heard.of("event_skipped")
    assert (skipped["position"], skipped["reason"]) == (there, "RuntimeError: cannot")


@pytest.mark.any_database
def test_an_outage_and_its_end(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    # Else this event may be committed between the two errors.
    catch_up(picky())
    last = school.add_trick("Fido", "wait")
    Picky.errors["wait"] = [OperationalError("it is away")] * 2

    with running(picky()):
        heard.wait_for("projection_recovered")

    outages = heard.of("projection_interrupted")
    assert [each["is_first"] for each in outages] == [True, False]
    assert [each["seconds"] for each in outages] == [0.01, 0.02]
    assert {each["phase"] for each in outages} == {"running"}
    assert str(outages[0]["error"]) == "it is away"
    assert heard.has_reached("projection_recovered", last)
    assert "event_failed" not in heard.names()


def test_standing_by_and_taking_over(
    school: TrainingSchool, school_projection: Registration, heard: Heard
) -> None:
    with running(school_projection) as first:
        owner = ProjectionTracking.objects.get().owner
        with running(school_projection):
            assert heard.wait_for("standing_by") == {
                "owner": owner,
                "reason": "",
                "is_paused": False,
            }
            first.end()
            heard.wait_for("projection_started", count=2)

    assert heard.names().count("standing_by") == 1
    assert heard.names().count("projection_stopped") == 2


def test_a_lease_that_is_lost(
    school: TrainingSchool,
    school_projection: Registration,
    heard: Heard,
    settings: Any,
) -> None:
    settings.ESDB_LEASE_SECONDS = 1.5
    with running(school_projection):
        heard.wait_for("projection_started")
        take_over()
        lost = heard.wait_for("lease_lost")
        heard.wait_for("standing_by")

    assert isinstance(lost["error"], LeaseLostError)
    assert heard.of("lease_released") == []
    assert heard.of("standing_by") == [
        {"owner": "other", "reason": "", "is_paused": False}
    ]


def test_a_projection_that_fails(
    school: TrainingSchool, picky: MakeRegistration, heard: Heard
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    Picky.errors["burn"] = [RuntimeError("cannot")] * 2

    with pytest.raises(ProjectionError) as raised:
        catch_up(picky())

    assert heard.of("projection_failed") == [{"error": raised.value}]
    assert "projection_stopped" not in heard.names()
    assert "projection_paused" not in heard.names()


def test_a_lease_that_nobody_gave_back(
    school: TrainingSchool, school_projection: Registration, heard: Heard
) -> None:
    catch_up(school_projection)
    ProjectionTracking.objects.update(owner="killed", leased_until=DatabaseTime(-1))

    catch_up(school_projection)

    told = [each["was_abandoned"] for each in heard.of("lease_acquired")]
    assert told == [False, True]


@pytest.mark.any_database
def test_a_subscription_that_was_broken_off_for_a_moment(
    school: TrainingSchool,
    school_projection: Registration,
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receivers: list[Receiver] = []
    run = Receiver.run

    def keep(receiver: Receiver) -> None:
        receivers.append(receiver)
        run(receiver)

    monkeypatch.setattr(Receiver, "run", keep)
    school.register("Fido")
    with running(school_projection):
        heard.wait_for("projection_caught_up")
        receivers[-1].drop_call()
        resumed = heard.wait_for("subscription_resumed")

    assert resumed == {"times": 1}
    assert "projection_interrupted" not in heard.names()


def nameless() -> Any:
    """Return a receiver of which Django cannot report an error."""

    def failing(number: int, **kwargs: Any) -> None:
        raise ZeroDivisionError

    return partial(failing, 1)


def named() -> Any:
    def failing(**kwargs: Any) -> None:
        raise ZeroDivisionError

    return failing


@pytest.mark.any_database
@pytest.mark.parametrize("make_receiver", [named, nameless])
def test_a_receiver_that_fails_is_logged_and_stops_nothing(
    school: TrainingSchool,
    school_projection: Registration,
    caplog: pytest.LogCaptureFixture,
    make_receiver: Callable[[], Any],
) -> None:
    receiver = make_receiver()
    for signal in ALL.values():
        signal.connect(receiver)
    school.register("Fido")
    try:
        with caplog.at_level(logging.ERROR):
            catch_up(school_projection)
    finally:
        for signal in ALL.values():
            signal.disconnect(receiver)

    assert Dog.objects.count() == 1
    assert "ZeroDivisionError" in caplog.text


def test_a_receiver_may_use_the_database_that_the_batch_is_committed_to(
    school: TrainingSchool, school_projection: Registration
) -> None:
    seen: list[tuple[int, bool]] = []

    def look(**kwargs: Any) -> None:
        seen.append((Dog.objects.count(), connection.in_atomic_block))

    signals.batch_committed.connect(look)
    school.register("Fido")
    catch_up(school_projection)
    signals.batch_committed.disconnect(look)

    # Once more for each time that others' events were passed over.
    assert set(seen) == {(1, False)}


@pytest.mark.any_database
def test_signals_come_from_the_projections_threads(
    school: TrainingSchool, school_projection: Registration
) -> None:
    threads: set[threading.Thread] = set()

    def note(**kwargs: Any) -> None:
        threads.add(threading.current_thread())

    for signal in ALL.values():
        signal.connect(note)
    school.register("Fido")
    with running(school_projection) as this:
        wait_until(lambda: Dog.objects.exists())
    for signal in ALL.values():
        signal.disconnect(note)

    assert this.thread in threads
    assert threading.current_thread() not in threads


@pytest.mark.any_database
def test_each_signal_is_documented() -> None:
    assert signals.__doc__ is not None
    page = (ROOT / "docs" / "projections.md").read_text(encoding="utf-8")
    for name in ALL:
        assert f"``{name}``" in signals.__doc__
        assert f"\n| `{name}` |" in page
