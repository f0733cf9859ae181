"""Events that are processed for longer than any may take."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from eventsourcing.persistence import Tracking

from django_esdb.exceptions import EventHangError
from django_esdb.models import ProjectionState
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from django_esdb.runner import Supervisor, hangs
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import tricks
from tests.support.supervising import SECONDS, Running, running, tracking, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

wakes = threading.Event()


def wait_long() -> None:
    """Hang until the test is over."""
    assert wakes.wait(SECONDS)


def compute_long() -> None:
    """Hang in a loop of Python."""
    while not wakes.is_set():
        pass


def ask_long() -> None:
    """Hang in a statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            {
                "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
                "FROM n WHERE i < 100000000000) SELECT count(*) FROM n",
                "postgresql": "SELECT pg_sleep(600)",
                "mysql": "SELECT SLEEP(600)",
            }[connection.vendor]
        )


class HangingProjection(TrainingSchoolProjection):
    """Hangs at the trick «hang», with a row changed that is not committed."""

    name = "Hanging"
    hang: Callable[[], None] = staticmethod(wait_long)
    is_in_callback = False

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        if getattr(domain_event, "trick", "") == "hang":
            if self.is_in_callback:
                transaction.on_commit(type(self).hang)
            else:
                type(self).hang()


@pytest.fixture(autouse=True)
def impatient(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have events take half a second at most, and let go of what hangs in the end."""
    settings.ESDB_EVENT_SECONDS = 0.5
    monkeypatch.setattr(hangs, "_TURN_SECONDS", 0.05)
    wakes.clear()
    yield
    wakes.set()


@pytest.fixture
def hanging(registration: Callable[..., Registration]) -> Registration:
    return registration(
        projection_class=HangingProjection, on_failure=OnFailure.SKIP, retries=0
    )


def hang_once(registration: Registration) -> EventHangError:
    """Run the projection until it hangs, and return what its supervisor says."""
    has_hung = threading.Event()
    supervisor = Running(registration, hung=lambda hung: has_hung.set())
    supervisor.thread.start()
    assert has_hung.wait(SECONDS)
    row = tracking()
    assert row.state == ProjectionState.RETRYING
    assert row.owner, "the next owner has to know that it was not released"
    assert supervisor.thread.is_alive() or HangingProjection.hang is ask_long
    wakes.set()
    supervisor.thread.join(SECONDS)
    assert not supervisor.thread.is_alive()
    wakes.clear()
    assert isinstance(supervisor.error, EventHangError)
    assert tracking().error == row.error, "what it does later must not hide why"
    assert str(supervisor.error) == row.error
    return supervisor.error


@pytest.mark.parametrize("hang", [wait_long, compute_long, ask_long])
def test_row_and_error_say_where_it_hangs_and_another_can_take_over(
    school: TrainingSchool,
    hanging: Registration,
    monkeypatch: pytest.MonkeyPatch,
    hang: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(HangingProjection, "hang", staticmethod(hang))
    school.register("Fido")
    before = school.add_trick("Fido", "sit")
    position = school.add_trick("Fido", "hang")

    error = hang_once(hanging)

    assert error.position == position
    assert re.search(
        rf"hangs .* in {hang.__name__} \(.*test_hangs.py:\d+\)", str(error)
    )
    assert f"in {hang.__name__}" in error.stack
    assert "site-packages" not in error.stack.splitlines()[0]
    assert error.stack in caplog.text
    row = tracking()
    assert (row.attempted_position, row.attempted_until, row.attempts) == (
        position,
        None,
        1,
    )
    # Undone with the batch that it was in.
    assert row.position is None or row.position <= before
    monkeypatch.setattr(HangingProjection, "hang", staticmethod(lambda: None))
    with running(hanging):
        wait_until(lambda: tracking().position == position)
    assert tricks("Fido") == ["sit", "hang"]
    assert tracking().attempted_position is None


def test_an_event_at_which_processes_hang_is_treated_as_the_policy_says(
    school: TrainingSchool, hanging: Registration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "sit")
    position = school.add_trick("Fido", "hang")
    last = school.add_trick("Fido", "roll")

    for attempts in (1, 2, 3):
        assert hang_once(hanging).position == position
        assert tracking().attempts == attempts
    with running(hanging):
        wait_until(lambda: tracking().position == last)

    assert tricks("Fido") == ["sit", "roll"]


def test_a_callback_that_hangs_after_the_commit_is_no_events_fault(
    school: TrainingSchool, hanging: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HangingProjection, "is_in_callback", True)
    school.register("Fido")
    position = school.add_trick("Fido", "hang")

    error = hang_once(hanging)

    assert "hangs at committing" in str(error)
    row = tracking()
    assert (row.position, row.attempted_position) == (position, None)
    assert tricks("Fido") == ["hang"]


def test_a_process_that_stood_still_blames_no_event(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """As after SIGSTOP: the clocks have gone on, though nothing could be processed."""
    settings.ESDB_EVENT_SECONDS = 300
    found: list[bool] = []
    now = [1000.0]
    monkeypatch.setattr(hangs, "monotonic", lambda: now[0])
    clock = hangs.EventClock()
    watch = hangs.HangWatch(clock, lambda: found.append(True), "hangs")
    watch.stop()
    clock.began, clock.is_under_way = now[0], True

    for elapsed in [1, 3600, *[1] * 280]:
        now[0] += elapsed
        watch._look()
    assert not found
    for _ in range(20):
        now[0] += 1
        watch._look()
    wait_until(lambda: found)


def test_without_a_hook_the_supervisor_ends_when_it_can(
    school: TrainingSchool, hanging: Registration
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "hang")
    threading.Timer(2.0, wakes.set).start()

    with pytest.raises(EventHangError):
        Supervisor(hanging).run()
