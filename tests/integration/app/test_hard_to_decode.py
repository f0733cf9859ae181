"""Events that hang or fail before their handlers are called."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eventsourcing.persistence import Mapper, OperationalError, StoredEvent

from django_esdb.exceptions import EventHangError
from django_esdb.models import ProjectionState, SkippedEvent
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from django_esdb.runner import decisions
from django_esdb.runner.time_limits import hangs
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import tricks
from tests.support.supervising import (
    SECONDS,
    Running,
    catch_up,
    running,
    tracking,
    wait_until,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

MakeRegistration = Callable[..., Registration]

wakes = threading.Event()


@pytest.fixture(autouse=True)
def impatient(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have events take half a second at most, and let go of what hangs in the end."""
    settings.ESDB_EVENT_SECONDS = 0.5
    monkeypatch.setattr(hangs, "_TURN_SECONDS", 0.05)
    monkeypatch.setattr(decisions, "FIRST_PAUSE_SECONDS", 0.01)
    wakes.clear()
    yield
    wakes.set()


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Have something done before the event of the dog «Hard» is decoded."""
    decode = Mapper.to_domain_event

    def before(act: Callable[[], None]) -> None:
        def hooked(mapper: Any, stored: StoredEvent) -> Any:
            if b"Hard" in stored.state:
                act()
            return decode(mapper, stored)

        monkeypatch.setattr(Mapper, "to_domain_event", hooked)

    return before


def hang() -> None:
    assert wakes.wait(SECONDS)


def hang_once(registration: Registration) -> EventHangError:
    has_hung = threading.Event()
    this = Running(registration, hung=lambda hung: has_hung.set())
    this.thread.start()
    assert has_hung.wait(SECONDS), "it hangs unnoticed"
    wakes.set()
    this.thread.join(SECONDS)
    wakes.clear()
    assert isinstance(this.error, EventHangError)
    return this.error


def test_one_that_hangs_ends_the_process_and_is_given_up(
    school: TrainingSchool,
    registration: MakeRegistration,
    decoding: Callable[[Callable[[], None]], None],
) -> None:
    school.register("Fido")
    there = school.register("Hard")
    last = school.register("Rex")
    decoding(hang)
    skipping = registration(on_failure=OnFailure.SKIP)

    for attempts in (1, 2, 3):
        error = hang_once(skipping)
        assert error.position == there
        assert ", in hang (" in str(error)
        row = tracking()
        assert (row.state, row.attempts) == (ProjectionState.RETRYING, attempts)
    with running(skipping):
        wait_until(lambda: (tracking().position or 0) >= last)

    assert [each.position for each in SkippedEvent.objects.all()] == [there]
    assert set(Dog.objects.values_list("name", flat=True)) == {"Fido", "Rex"}


def test_what_may_pass_while_it_is_decoded_is_not_its_failure(
    school: TrainingSchool,
    registration: MakeRegistration,
    decoding: Callable[[Callable[[], None]], None],
) -> None:
    school.register("Fido")
    school.register("Hard")
    last = school.add_trick("Fido", "sit")
    times = iter(range(100))

    def fail() -> None:
        if next(times) < 3:
            raise OperationalError("keys are away")

    decoding(fail)
    with running(registration(on_failure=OnFailure.SKIP)):
        wait_until(lambda: (tracking().position or 0) >= last)

    assert not SkippedEvent.objects.exists()
    assert Dog.objects.filter(name="Hard").exists()


def test_what_does_not_pass_while_it_is_decoded_is_its_failure(
    school: TrainingSchool,
    registration: MakeRegistration,
    decoding: Callable[[Callable[[], None]], None],
) -> None:
    school.register("Fido")
    there = school.register("Hard")
    school.add_trick("Fido", "sit")

    def fail() -> None:
        raise OperationalError("keys are gone")

    decoding(fail)
    catch_up(registration(on_failure=OnFailure.SKIP))

    assert [each.position for each in SkippedEvent.objects.all()] == [there]
    assert tricks("Fido") == ["sit"]


def test_one_that_hangs_while_its_rows_are_asked_for_is_the_one_that_is_blamed(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    class Asking(TrainingSchoolProjection):
        def row_keys(self, model: Any, domain_event: Any) -> list[Any]:
            if getattr(domain_event, "name", "") == "Hard":
                hang()
            return [domain_event.originator_id]

    school.register("Fido")
    school.add_trick("Fido", "sit")
    there = school.register("Hard")

    assert hang_once(registration(projection_class=Asking)).position == there
    row = tracking()
    assert (row.attempted_position, row.attempts) == (there, 1)
