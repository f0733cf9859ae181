"""The thread that does what is due every few seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from eventsourcing_eventstoredb.scheduler import THREAD_NAME, Scheduler
from tests.support.supervising import SECONDS, wait_until

NAME = THREAD_NAME


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler()
    yield scheduler
    for periodic in tuple(scheduler._periodic):
        scheduler.cancel(periodic)


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


def test_the_thread_is_there_only_while_something_is_to_be_called() -> None:
    scheduler = Scheduler()
    ended = threading.Event()
    scheduler.at_end(ended.set)
    assert scheduling_threads() == []
    first = scheduler.every(3600, lambda: None)
    second = scheduler.every(3600, lambda: None)
    (thread,) = scheduling_threads()
    scheduler.cancel(first)
    assert thread.is_alive()

    scheduler.cancel(second)

    assert not thread.is_alive()
    assert ended.is_set()
    called = threading.Event()
    again = scheduler.every(0.01, called.set)
    assert called.wait(SECONDS)
    scheduler.cancel(again)


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


def test_one_that_fails_is_logged_and_stops_nothing(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def failing() -> None:
        calls.append(1)
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "eventsourcing_eventstoredb"):
        scheduler.every(0.01, failing)
        wait_until(lambda: len(calls) > 2)

    assert "ZeroDivisionError" in caplog.text
