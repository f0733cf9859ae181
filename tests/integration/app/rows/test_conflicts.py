"""Other transactions that are in a batch's way, for real."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from django_esdb.db.errors import Cause, cause_of
from django_esdb.runner.batches.processor import BatchProcessor
from tests.support.made_events import APP, Event, projection, received
from tests.support.rows_app.models import Counter, Gauge

pytestmark = pytest.mark.django_db(transaction=True)


def processed_again(events: list[Event], most: int = 5) -> list[BaseException]:
    """Process a batch until all of it is done; return what it failed with before."""
    doing, view = projection()
    events_left = received(events)
    errors: list[BaseException] = []
    while len(errors) < most:
        processor = BatchProcessor(doing, view, APP)
        try:
            processor.process(events_left[processor.position or 0 :])
        except Exception as error:
            errors.append(error)
        else:
            break
    assert view.max_tracking_id(APP) == len(events)
    return errors


@contextmanager
def other_session(work: Callable[[], None]) -> Iterator[None]:
    """Do work on a connection of its own meanwhile."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(60)


def increment(name: str) -> Event:
    return lambda rows: rows(Counter).increment(name, count=1)


def plainly(name: str) -> None:
    Counter.objects.filter(name=name).update(total=1)


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="has one writer at a time")
@pytest.mark.parametrize("way", ["raised", "caught", "caught in a savepoint", "rows"])
def test_a_batch_in_a_deadlock_is_done_again_as_a_whole(way: str) -> None:
    for name in "abxy":
        Counter.objects.create(name=name)
    has_other, has_ours, times = threading.Event(), threading.Event(), []

    def other() -> None:
        with suppress(DatabaseError), transaction.atomic():
            # Who has done more is not the victim, in MariaDB.
            Gauge.objects.bulk_create(Gauge(id=number) for number in range(500))
            plainly("y")
            has_other.set()
            has_ours.wait(60)
            plainly("x")

    def conflict(rows: Any) -> None:
        rows(Counter).increment("b", count=1)
        times.append(1)
        if len(times) > 1:
            return
        has_other.wait(60)
        plainly("x")
        has_ours.set()
        if way == "raised":
            plainly("y")
        elif way == "caught":
            with suppress(DatabaseError):
                plainly("y")
            rows(Counter).increment("b", count=100)
        elif way == "rows":
            rows(Counter).get("y").total = 1
            with suppress(DatabaseError):
                Gauge.objects.count()
        else:
            with suppress(DatabaseError), transaction.atomic():
                plainly("y")

    with other_session(other):
        errors = processed_again([increment("a"), conflict, increment("a")])

    assert all(cause_of(error) is Cause.LOCK for error in errors)
    if len(times) > 1:
        counts = dict(Counter.objects.values_list("name", "count"))
        assert counts == {"a": 2, "b": 1, "x": 0, "y": 0}


def keep_snapshots() -> None:
    """Have transactions refuse to write what others have changed since they began."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL "
                "REPEATABLE READ"
            )
            return
        cursor.execute("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")
        if not cursor.fetchall():
            pytest.skip("continues with rows that have changed")
        cursor.execute("SET SESSION innodb_snapshot_isolation = ON")
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="has one writer at a time")
@pytest.mark.parametrize("is_caught", [True, False])
def test_a_batch_on_an_old_snapshot_is_done_again_as_a_whole(is_caught: bool) -> None:
    """MariaDB undoes all of the transaction then, by a setting that is newer ones'."""
    for name in "abx":
        Counter.objects.create(name=name)
    times: list[int] = []

    def conflict(rows: Any) -> None:
        rows(Counter).increment("b", count=1)
        times.append(1)
        Counter.objects.count()
        if len(times) == 1:
            with other_session(lambda: plainly("x")):
                pass
        with suppress(*([DatabaseError] if is_caught else [])):
            Counter.objects.filter(name="x").update(count=5)
        rows(Counter).increment("b", count=1)

    keep_snapshots()
    try:
        errors = processed_again([increment("a"), conflict, increment("a")])
    finally:
        connection.close()

    assert [cause_of(error) for error in errors] == [Cause.LOCK]
    counts = dict(Counter.objects.values_list("name", "count"))
    assert counts == {"a": 2, "b": 2, "x": 5}
