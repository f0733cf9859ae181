"""The thread that does what is due every few seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections

from django_esdb.db import connections as db_connections
from django_esdb.runner.scheduler import Scheduler
from example_project.training_school.models import Dog
from tests.support.supervising import SECONDS, wait_until

NAME = "projections-scheduler"


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler()
    with scheduler.in_use():
        yield scheduler


def scheduling_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def test_all_is_called_by_one_thread_again_and_again(scheduler: Scheduler) -> None:
    callers: list[Any] = []
    for number in range(3):
        scheduler.every(
            0.01, lambda n=number: callers.append((n, threading.current_thread()))
        )

    for number in range(3):
        wait_until(lambda n=number: [each[0] for each in callers].count(n) > 2)

    assert {thread for _, thread in callers} == set(scheduling_threads())


def test_the_thread_is_there_only_while_it_is_of_use() -> None:
    scheduler = Scheduler()
    with scheduler.in_use():
        assert scheduling_threads() == []
        with scheduler.in_use():
            scheduler.every(3600, lambda: None)
            (thread,) = scheduling_threads()
        assert thread.is_alive()

    assert not thread.is_alive()
    called = threading.Event()
    with scheduler.in_use():
        scheduler.every(0.01, called.set)
        assert called.wait(SECONDS)


def test_the_first_call_comes_after_the_interval(scheduler: Scheduler) -> None:
    called = threading.Event()
    began = time.monotonic()
    # It waits for something else at that time.
    scheduler.every(3600, lambda: None)
    scheduler.every(0.2, called.set)

    assert called.wait(SECONDS)
    assert time.monotonic() - began >= 0.2


def test_what_is_cancelled_is_over(scheduler: Scheduler) -> None:
    begun, go_on = threading.Event(), threading.Event()
    ended: list[int] = []

    def slow() -> None:
        begun.set()
        go_on.wait(SECONDS)
        ended.append(1)

    periodic = scheduler.every(0.01, slow)
    assert begun.wait(SECONDS)
    threading.Timer(0.1, go_on.set).start()

    scheduler.cancel(periodic)

    assert ended == [1]
    others = threading.Event()
    scheduler.every(0.05, others.set)
    assert others.wait(SECONDS)
    assert ended == [1]
    scheduler.cancel(periodic)


def test_a_call_may_cancel_itself(scheduler: Scheduler) -> None:
    calls: list[int] = []
    made: list[Any] = []

    def once() -> None:
        calls.append(1)
        scheduler.cancel(made[0])

    made.append(scheduler.every(0.05, once))
    others: list[int] = []
    scheduler.every(0.05, lambda: others.append(1))
    wait_until(lambda: len(others) > 3)

    assert calls == [1]


def test_without_a_user_nothing_is_called() -> None:
    with pytest.raises(RuntimeError, match="in_use"):
        Scheduler().every(1, lambda: None)


def test_one_that_fails_is_logged_and_stops_nothing(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def failing() -> None:
        calls.append(1)
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "django_esdb.runner"):
        scheduler.every(0.01, failing)
        wait_until(lambda: len(calls) > 2)

    assert "ZeroDivisionError" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_its_connections_are_closed_when_nothing_is_due(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_connections, "IDLE_SECONDS", 0.1)
    assert connection.settings_dict["CONN_MAX_AGE"] == 0
    seen: list[Any] = []

    def ask() -> None:
        seen.append(connections["default"])
        Dog.objects.exists()

    scheduler.every(0.2, ask)
    wait_until(lambda: seen and seen[0].connection is None)
