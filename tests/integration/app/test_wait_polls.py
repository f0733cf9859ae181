"""How a view is polled, and where that cannot succeed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from django_esdb.db.guards import sees_new_commits
from django_esdb.exceptions import WaitInTransactionError
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.recorders.waiting import poll_pause
from example_project.training_school.models import SchoolCounts

pytestmark = pytest.mark.django_db(transaction=True)

# How each server is told, and how it is told that it is as before.
LEVELS = {
    "postgresql": [
        "SET TRANSACTION ISOLATION LEVEL {}",
        "SET LOCAL transaction_isolation = '{}'",
    ],
    "mysql": [],
}
SESSION = {
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {}",
    "mysql": "SET SESSION TRANSACTION ISOLATION LEVEL {}",
}


@pytest.fixture(autouse=True)
def _connect_anew() -> Iterator[None]:
    yield
    connection.close()


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def polls() -> Iterator[float]:
    at = 0.0
    while True:
        yield at
        at += poll_pause(at)


def test_row_that_is_there_in_3_ms_is_seen_within_5() -> None:
    assert next(at for at in polls() if at > 0.003) <= 0.005


def test_what_is_there_later_is_seen_in_half_as_long_again() -> None:
    times = list(takewhile(lambda at: at < 0.2, polls()))

    for there in (0.005, 0.01, 0.05, 0.1):
        assert next(at for at in times if at >= there) <= there * 1.5


def test_long_wait_takes_few_polls() -> None:
    within_a_second = takewhile(lambda at: at < 1, polls())

    assert len(list(within_a_second)) < 25
    assert poll_pause(60) == 0.1


def test_queries_outside_of_transactions_see_what_is_committed() -> None:
    assert sees_new_commits(connection)
    if connection.vendor in SESSION:
        execute(SESSION[connection.vendor].format("REPEATABLE READ"))
        assert sees_new_commits(connection)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="it has one level")
@pytest.mark.parametrize(
    ("level", "sees"), [("REPEATABLE READ", False), ("READ COMMITTED", True)]
)
def test_isolation_level_is_noticed_wherever_it_was_set(level: str, sees: bool) -> None:
    for statement in LEVELS[connection.vendor]:
        with transaction.atomic():
            execute(statement.format(level))
            assert sees_new_commits(connection) is sees
    execute(SESSION[connection.vendor].format(level))
    with transaction.atomic():
        assert sees_new_commits(connection) is sees


@pytest.mark.skipif(connection.vendor != "mysql", reason="others have it in a variable")
def test_isolation_level_of_one_transaction_is_noticed() -> None:
    execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    view = DjangoTrackingRecorder("projection")
    with transaction.atomic():
        assert not SchoolCounts.objects.exists()
        with pytest.raises(WaitInTransactionError):
            view.wait("App", 7, timeout=0.1, interrupt=threading.Event())
    with transaction.atomic():
        assert not SchoolCounts.objects.exists()
        assert sees_new_commits(connection)


@pytest.mark.skipif(connection.vendor != "mysql", reason="has no such privilege")
def test_who_may_not_ask_for_the_level_of_a_transaction_may_wait() -> None:
    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        if "innodb_trx" in sql:
            raise OperationalError(1227, "Access denied; you need PROCESS")
        return execute(sql, *args)

    with transaction.atomic(), connection.execute_wrapper(refuse):
        assert sees_new_commits(connection)


def test_waiting_where_nothing_is_seen_is_an_error() -> None:
    if connection.vendor in SESSION:
        execute(SESSION[connection.vendor].format("REPEATABLE READ"))
    view = DjangoTrackingRecorder("projection")
    view.ensure_row("App")
    with transaction.atomic():
        assert not SchoolCounts.objects.exists()
        with pytest.raises(WaitInTransactionError):
            view.wait("App", 7, timeout=0.1)


def test_connection_without_autocommit_is_in_a_transaction() -> None:
    if connection.vendor in SESSION:
        execute(SESSION[connection.vendor].format("REPEATABLE READ"))
    connection.set_autocommit(False)
    try:
        assert not sees_new_commits(connection)
    finally:
        connection.rollback()
        connection.set_autocommit(True)
