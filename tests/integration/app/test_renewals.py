"""Renewing the leases of all projections of a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.backends.signals import connection_created
from django.db.models import F

from django_esdb.db.functions import DatabaseTime
from django_esdb.leases.acquiring import acquire_lease
from django_esdb.leases.lease import Lease
from django_esdb.models import ProjectionState, ProjectionTracking
from django_esdb.registry import Registration
from django_esdb.runner import Options, Worker
from django_esdb.runner.renewals import LeaseRenewal
from eventsourcing_eventstoredb.scheduler import THREAD_NAME, scheduler
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.supervising import SECONDS, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


def scheduling_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def projections_threads() -> list[threading.Thread]:
    parts = ("projection-", "eventstoredb-receiver", "_process_events", "_stop_subsc")
    return [
        thread
        for thread in threading.enumerate()
        if any(part in thread.name for part in parts)
    ]


class Statements:
    """
    Notes which thread renews leases, and which connections there are.

    Attributes:
        renewals: Of each renewal the thread and the statement's parameters.
        opened: Django's connections, each with the name of its thread.
    """

    def __init__(self) -> None:
        self.renewals: list[tuple[threading.Thread, Any]] = []
        self.opened: list[tuple[str, Any]] = []

    def note_connection(self, *, connection: Any, **kwargs: Any) -> None:
        if self._note not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._note)
            self.opened.append((threading.current_thread().name, connection))

    def _note(
        self, execute: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if 'SET "leased_until"' in sql.replace("`", '"'):
            self.renewals.append((threading.current_thread(), params))
        return execute(sql, params, many, context)


@pytest.fixture
def statements() -> Iterator[Statements]:
    statements = Statements()
    connection_created.connect(statements.note_connection)
    yield statements
    connection_created.disconnect(statements.note_connection)


def test_the_leases_of_a_process_are_renewed_by_one_thread(
    school: TrainingSchool,
    registration: MakeRegistration,
    statements: Statements,
    settings: Any,
) -> None:
    settings.ESDB_LEASE_SECONDS = 1.5

    class Second(TrainingSchoolProjection):
        topics = ("second",)

    class Third(TrainingSchoolProjection):
        topics = ("third",)

    classes = (TrainingSchoolProjection, Second, Third)
    names = {each.name for each in classes}
    worker = Worker(
        [registration(projection_class=each) for each in classes], Options()
    )
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        wait_until(
            lambda: all(
                sum(name in params for _, params in statements.renewals) > 2
                for name in names
            ),
            "leases are not renewed",
        )
        assert {each for each, _ in statements.renewals} == set(scheduling_threads())
        assert len(scheduling_threads()) == 1

        def supervisors() -> list[Any]:
            return [
                wrapper.connection
                for name, wrapper in statements.opened
                if name.startswith("projection-")
            ]

        # Each had one, to get its lease, and may still begin.
        wait_until(lambda: supervisors() == [None] * 3, "supervisors keep connections")
        # A supervisor, the library's two, and one that receives and decodes.
        assert len(projections_threads()) == 3 * 4
        in_use = [w for _, w in statements.opened if w.connection is not None]
        scheduler_and_test = 2
        assert len(in_use) <= 3 + scheduler_and_test
        rows = ProjectionTracking.objects.filter(state=ProjectionState.RUNNING)
        assert {row.projection for row in rows} == names
    finally:
        worker.stop()
        thread.join(SECONDS)

    assert scheduling_threads() == []
    tests_own = threading.current_thread().name
    left = [name for name, wrapper in statements.opened if wrapper.connection]
    assert set(left) <= {tests_own}


def test_a_lease_that_is_found_to_be_lost_stops_the_runner_at_once(
    school: TrainingSchool, school_projection: Registration, settings: Any
) -> None:
    settings.ESDB_LEASE_SECONDS = 3
    with running(school_projection) as first:
        first.wait_for("started")
        # As when another process takes over after a suspension.
        row = ProjectionTracking.objects
        row.update(token=F("token") + 1, owner="other", leased_until=DatabaseTime(600))

        first.wait_for("standing by")
        # It does not wait for a batch that would find out.
        assert first._interrupts._term is None
        row.update(owner="", leased_until=None)
        first.wait_for("started", count=2)


def test_a_database_that_is_held_up_delays_no_other_lease_for_long(
    school: TrainingSchool,
    school_projection: Registration,
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("other databases skip what is locked")
    lease = acquire_lease(school_projection.tracked(), "me", 1.5)
    assert lease is not None
    before = school_projection.tracked().row().leased_until
    turns: list[float] = []
    renewal = LeaseRenewal(lease, lambda error: None)
    # Its turn comes between two attempts at the lease.
    turn = scheduler.every(0.1, lambda: turns.append(time.monotonic()))
    with transaction.atomic():
        ProjectionTracking.objects.update(error="held")
        end = time.monotonic() + 2
        wait_until(lambda: time.monotonic() > end)
    wait_until(lambda: school_projection.tracked().row().leased_until != before)
    renewal.stop()
    scheduler.cancel(turn)

    longest = max(later - earlier for earlier, later in pairwise(turns))
    # Django's own limit is five seconds.
    assert longest < 2


@contextmanager
def in_a_thread(run: Callable[[], None], go_on: threading.Event) -> Iterator[None]:
    """Have a thread run something, which continues at the end at the latest."""
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        go_on.set()
        thread.join()


def test_who_is_suspended_while_it_renews_keeps_no_one_out(
    school_projection: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("renews with a single statement")
    tracked = school_projection.tracked()
    lease = acquire_lease(tracked, "me", 1.0)
    assert lease is not None
    suspended, go_on = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def expiry(self: Lease) -> DatabaseTime:
        # It has the row's lock.
        suspended.set()
        go_on.wait(SECONDS)
        return DatabaseTime(self.seconds)

    def renew() -> None:
        try:
            lease.renew()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    monkeypatch.setattr(Lease, "expiry", expiry)
    with in_a_thread(renew, go_on):
        assert suspended.wait(SECONDS)
        wait_until(lambda: acquire_lease(tracked, "other", 600.0) is not None)

    assert len(errors) == 1
    assert tracked.row().owner == "other"


def test_who_is_suspended_while_it_holds_a_projection_keeps_no_one_out(
    school_projection: Registration, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("has no such limit")
    settings.ESDB_EVENT_SECONDS = 1.0
    monkeypatch.setattr("django_esdb.leases.tracked._AFTER_HANGS_SECONDS", 0.0)
    tracked = school_projection.tracked()
    tracked.ensure_row()
    suspended, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with suppress(DatabaseError), transaction.atomic():
            tracked.lock()
            suspended.set()
            go_on.wait(SECONDS)
        connection.close()

    with in_a_thread(hold, go_on):
        assert suspended.wait(SECONDS)
        wait_until(lambda: acquire_lease(tracked, "other", 600.0) is not None)
