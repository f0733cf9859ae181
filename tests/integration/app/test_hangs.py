"""Events that are processed for longer than any may take."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import Error as DatabaseError
from django.db import connection, transaction
from eventsourcing.persistence import Tracking

from django_esdb.db.sessions import end_session
from django_esdb.exceptions import EventHangError, LeaseLostError
from django_esdb.failures.audit import Audit
from django_esdb.failures.parking import failed_events
from django_esdb.failures.requests import request_retry
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import FailedEvent, ProjectionState, ProjectionTracking
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration, registry
from django_esdb.runner import Supervisor, hanging_retries, supervisor
from django_esdb.runner.time_limits import hangs
from eventsourcing_eventstoredb.scheduler import scheduler
from example_project.training_school.application import TrainingSchool
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
    this = Running(registration, hung=lambda hung: has_hung.set())
    this.thread.start()
    assert has_hung.wait(SECONDS)
    row = tracking()
    assert row.state == ProjectionState.RETRYING
    assert row.owner, "the next owner has to know that it was not released"
    assert this.thread.is_alive() or HangingProjection.hang is ask_long
    wakes.set()
    this.thread.join(SECONDS)
    assert not this.thread.is_alive()
    wakes.clear()
    assert isinstance(this.error, EventHangError)
    assert tracking().error == row.error, "what it does later must not hide why"
    assert str(this.error) == row.error
    return this.error


@pytest.mark.parametrize(
    "hang",
    [
        # These hang outside of the database.
        pytest.param(wait_long, marks=pytest.mark.any_database),
        pytest.param(compute_long, marks=pytest.mark.any_database),
        ask_long,
    ],
)
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
        wait_until(lambda: (tracking().position or 0) >= position)
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
        wait_until(lambda: (tracking().position or 0) >= last)

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


@pytest.fixture
def failed(
    school: TrainingSchool,
    registration: Callable[..., Registration],
    monkeypatch: pytest.MonkeyPatch,
) -> FailedEvent:
    """An event that was put aside, and hangs when it is tried again."""
    parking = registration(
        projection_class=HangingProjection, on_failure=OnFailure.PARK, retries=0
    )
    monkeypatch.setitem(registry._registry, "Hanging", parking)

    def fail() -> None:
        raise RuntimeError

    monkeypatch.setattr(HangingProjection, "hang", staticmethod(fail))
    school.register("Fido")
    school.add_trick("Fido", "hang")
    catch_up(parking)
    monkeypatch.setattr(HangingProjection, "hang", staticmethod(wait_long))
    return FailedEvent.objects.get()


def assert_hung(failed: FailedEvent) -> None:
    """Look at what the row of an event says that has hung when it was tried again."""
    now = FailedEvent.objects.get()
    assert (now.pk, now.attempts) == (failed.pk, failed.attempts + 1)
    assert f"hangs at failed event {failed.pk}, " in now.error
    assert "in wait_long (" in now.error
    assert "attempts.py" in now.traceback.splitlines()[0]
    assert "in wait_long" in now.traceback
    assert now.retry_requested_at is None
    assert tricks("Fido") == []


def test_a_failed_event_that_hangs_in_the_background_ends_the_process(
    failed: FailedEvent, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ESDB_LEASE_SECONDS = 0.6
    hanging = registry.get("Hanging")
    request_retry(Audit(), failed_events(hanging.tracked()).filter(pk=failed.pk))

    error = hang_once(hanging)

    assert error.failed_event == failed.pk
    assert_hung(failed)
    # It is not the position's fault, and who takes over runs as usual.
    assert tracking().attempted_position is None
    monkeypatch.setattr(HangingProjection, "hang", staticmethod(lambda: None))
    with running(hanging) as this:
        this.wait_for("started")
        retry_failed_events(hanging)
    assert tricks("Fido") == ["hang"]


def test_a_failed_event_that_hangs_ends_the_command_that_tries_it(
    failed: FailedEvent,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    statuses: list[int] = []

    def end(status: int) -> None:
        statuses.append(status)
        wakes.set()

    monkeypatch.setattr(hanging_retries, "end_process", end)

    def retry() -> None:
        hanging = registry.get("Hanging")
        try:
            with (
                suppress(DatabaseError),
                hanging_retries.process_ends_if_one_hangs(hanging) as clock,
            ):
                retry_failed_events(hanging, clock=clock)
        finally:
            # Which the session's end has left unusable.
            connection.close()

    thread = threading.Thread(target=retry)
    thread.start()
    thread.join(SECONDS)

    assert statuses == [5]
    assert "hangs at failed event" in capfd.readouterr().err
    assert_hung(failed)


def test_a_hang_is_noticed_while_renewals_wait_for_the_database(
    school: TrainingSchool, hanging: Registration
) -> None:
    school.register("Fido")
    position = school.add_trick("Fido", "hang")
    is_waiting = threading.Event()

    def wait_for_database() -> None:
        is_waiting.set()
        wakes.wait(SECONDS)

    periodic = scheduler.every(0.0, wait_for_database)
    try:
        assert is_waiting.wait(SECONDS)
        assert hang_once(hanging).position == position
    finally:
        wakes.set()
        scheduler.cancel(periodic)


class HangingHandler(logging.Handler):
    """Hangs with its lock, as one that sends mail may."""

    def emit(self, record: logging.LogRecord) -> None:
        wakes.wait(SECONDS)


def test_a_handler_that_hangs_while_it_logs_is_reported_on_standard_error(
    school: TrainingSchool,
    hanging: Registration,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("django_esdb.runner")
    monkeypatch.setattr(
        HangingProjection, "hang", staticmethod(lambda: logger.error("on its way"))
    )
    monkeypatch.setattr(hangs, "_LOG_SECONDS", 0.2)
    monkeypatch.setattr(supervisor, "_TELL_SECONDS", 0.2)
    school.register("Fido")
    position = school.add_trick("Fido", "hang")
    handler = HangingHandler()
    logger.addHandler(handler)
    try:
        error = hang_once(hanging)
    finally:
        logger.removeHandler(handler)

    assert error.position == position
    assert str(error) in capfd.readouterr().err


def test_a_row_that_stays_locked_does_not_keep_the_process_from_ending(
    school: TrainingSchool,
    hanging: Registration,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As when a retry of failed events waits for the row, and hangs at the same."""
    school.register("Fido")
    school.add_trick("Fido", "hang")
    has_lock, has_hung = threading.Event(), threading.Event()

    def lock_row() -> None:
        try:
            with transaction.atomic():
                assert ProjectionTracking.objects.select_for_update().get()
                has_lock.set()
                wakes.wait(SECONDS)
        finally:
            connection.close()

    other = threading.Thread(target=lock_row)

    def hang() -> None:
        other.start()
        wait_long()

    def end(session: Any, frame: Any) -> None:
        end_session(session, frame)
        assert has_lock.wait(SECONDS)

    monkeypatch.setattr(HangingProjection, "hang", staticmethod(hang))
    monkeypatch.setattr(hangs, "end_session", end)
    monkeypatch.setattr(hangs, "_RELEASE_SECONDS", 2.0)
    this = Running(hanging, hung=lambda hung: has_hung.set())
    this.thread.start()
    assert has_hung.wait(SECONDS)

    assert "could not be written down" in caplog.text
    wakes.set()
    other.join(SECONDS)
    this.thread.join(SECONDS)
    assert isinstance(this.error, EventHangError)


def test_a_handler_that_hangs_after_the_lease_was_lost_ends_the_process_too(
    school: TrainingSchool, hanging: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "hang")
    has_hung = threading.Event()
    this = Running(hanging, hung=lambda hung: has_hung.set())

    def hang() -> None:
        this._interrupts.lease_lost(LeaseLostError("another process has it"))
        wait_long()

    monkeypatch.setattr(HangingProjection, "hang", staticmethod(hang))
    this.thread.start()
    assert has_hung.wait(SECONDS)
    wakes.set()
    this.thread.join(SECONDS)
    assert isinstance(this.error, EventHangError)


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
    school: TrainingSchool, hanging: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_two_seconds() -> None:
        threading.Timer(2.0, wakes.set).start()
        wait_long()

    monkeypatch.setattr(HangingProjection, "hang", staticmethod(wait_two_seconds))
    school.register("Fido")
    school.add_trick("Fido", "hang")

    with pytest.raises(EventHangError):
        Supervisor(hanging).run()
