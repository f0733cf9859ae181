"""Waiting for leases that another process has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.db.backends.signals import connection_created

from django_esdb.db.functions import DatabaseTime
from django_esdb.leases import shared_look
from django_esdb.leases.acquiring import acquire_lease
from django_esdb.leases.shared_look import SharedLook
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import ProjectionState, ProjectionTracking
from django_esdb.registry import Registration
from django_esdb.runner.worker import Options, Worker
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.supervising import SECONDS, Running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = 20


def named(number: int) -> type[TrainingSchoolProjection]:
    return type(f"P{number}", (TrainingSchoolProjection,), {"name": f"P{number}"})


def test_all_projections_of_a_process_are_waited_for_with_one_query(
    school: TrainingSchool, registration: Callable[..., Registration]
) -> None:
    registrations = [
        registration(projection_class=named(number)) for number in range(COUNT)
    ]
    leases = [acquire_lease(each.tracked(), "other", 600) for each in registrations]
    assert all(leases)
    queries: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        queries.append((sql, params))
        return execute(sql, params, many, context)

    def note_connection(*, connection: Any, **kwargs: Any) -> None:
        if threading.current_thread().name.startswith("projection-"):
            connection.execute_wrappers.append(note)

    connection_created.connect(note_connection)
    worker = Worker(registrations, Options())
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        wait_until(lambda: any("P0" in (params or ()) for _, params in queries))
        queries.clear()
        wait_until(lambda: len(queries) >= 4)
        looks = [params for sql, params in queries if "leased_until" in sql]
        # Each looks for all of them.
        assert all(f"P{n}" in params for params in looks for n in range(COUNT))
        assert len(looks) == len(queries)
        # What becomes free is taken, without waiting for the others.
        assert leases[3] is not None
        leases[3].release(ProjectionState.STOPPED)
        row = ProjectionTracking.objects.filter(projection="P3")
        wait_until(lambda: row.get().state == ProjectionState.RUNNING)
        others = ProjectionTracking.objects.filter(projection__startswith="P")
        others = others.exclude(projection="P3")
        assert set(others.values_list("owner", flat=True)) == {"other"}
    finally:
        worker.stop()
        thread.join(SECONDS)
        connection_created.disconnect(note_connection)


def test_a_look_is_as_old_as_its_interval_at_most(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    now = [100.0]
    monkeypatch.setattr(shared_look, "monotonic", lambda: now[0])
    monkeypatch.setattr(shared_look, "random", lambda: 0.0)
    look = SharedLook(0.5)
    first, second = (TrackedProjection("default", name, "App") for name in "ab")
    for tracked in (first, second):
        tracked.ensure_row()
    look.await_all([first, second])
    with django_assert_num_queries(1):
        assert not look.row(first).is_owned  # type: ignore[attr-defined]
        assert not look.row(second).is_owned  # type: ignore[attr-defined]
    second.queryset().update(leased_until=DatabaseTime(60))

    now[0] += 0.4
    assert look.pause() == pytest.approx(0.1)
    with django_assert_num_queries(0):
        assert not look.row(second).is_owned  # type: ignore[attr-defined]
    now[0] += look.pause()
    with django_assert_num_queries(1):
        assert look.row(second).is_owned  # type: ignore[attr-defined]
        look.row(first)
    # Its own process has changed the row meanwhile.
    look.forget(first)
    with django_assert_num_queries(1):
        look.row(first)


def test_a_database_that_does_not_answer_is_waited_for_once_and_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = SharedLook(0.001)
    queries: list[str] = []
    found: list[Any] = []
    is_asked, is_waiting, answers = (threading.Event() for _ in range(3))

    def ask(name: str) -> None:
        try:
            found.append(look.row(TrackedProjection("default", name, "App")))
        except DatabaseError as error:
            found.append(error)
        finally:
            connection.close()

    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        queries.append(sql)
        is_asked.set()
        assert answers.wait(SECONDS)
        msg = "timeout expired"
        raise OperationalError(msg)

    def note_connection(*, connection: Any, **kwargs: Any) -> None:
        connection.execute_wrappers.append(fail)

    def note_asking() -> float:
        if threading.current_thread() is second:
            is_waiting.set()
        return time.monotonic()

    first, second = (threading.Thread(target=ask, args=(name,)) for name in "ab")
    monkeypatch.setattr(shared_look, "monotonic", note_asking)
    connection_created.connect(note_connection)
    try:
        first.start()
        assert is_asked.wait(SECONDS)
        second.start()
        assert is_waiting.wait(SECONDS)
        # Would block if there were one lock.
        look.await_all([TrackedProjection("other", "c", "App")])
    finally:
        answers.set()
        first.join(SECONDS)
        second.join(SECONDS)
        connection_created.disconnect(note_connection)

    assert [type(each) for each in found] == [OperationalError] * 2
    assert len(queries) == 1


def test_a_row_that_is_not_there_is_made() -> None:
    tracked = TrackedProjection("default", "new", "App")

    assert SharedLook(0.5).row(tracked).projection == "new"
    assert connection.is_usable()


def test_who_waits_is_told_when_it_is_known_for_whom(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who has just taken the lease is not committed yet when that is first asked."""
    lease = acquire_lease(school_projection.tracked(), "", 600)
    assert lease is not None
    this = Running(school_projection)
    looks: list[None] = []
    row = this._look.row

    def note(tracked: TrackedProjection) -> ProjectionTracking:
        looks.append(None)
        return row(tracked)

    monkeypatch.setattr(this._look, "row", note)
    this.thread.start()
    try:
        wait_until(lambda: len(looks) > 1)
        assert not this.events
        lease.tracked.queryset().update(owner="host:1:scope:other")
        this.wait_for("standing by")
    finally:
        this.end()
