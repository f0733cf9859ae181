"""Calling functions at intervals, in one thread."""

from __future__ import annotations

import threading

import pytest

from eventsourcing_eventstoredb import scheduler as scheduling
from eventsourcing_eventstoredb.scheduler import Scheduler
from tests.support.collecting import at_each_line

SECONDS = 10


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler("test-scheduler")


def test_what_is_hastened_is_called_soon(scheduler: Scheduler) -> None:
    is_called = threading.Event()
    periodic = scheduler.every(3600, is_called.set)

    scheduler.hasten(periodic)

    assert is_called.wait(SECONDS)
    scheduler.cancel(periodic)


def test_what_is_cancelled_and_hastened_is_not_called(scheduler: Scheduler) -> None:
    calls: list[int] = []
    periodic = scheduler.every(3600, lambda: calls.append(1))
    scheduler.cancel(periodic)
    others = threading.Event()

    scheduler.hasten(periodic)

    other = scheduler.every(0.01, others.set)
    assert others.wait(SECONDS)
    scheduler.cancel(other)
    assert calls == []


def test_finalizers_may_use_it_wherever_a_thread_is(scheduler: Scheduler) -> None:
    is_called = threading.Event()
    collected = scheduler.every(3600, int)

    def finalize() -> None:
        scheduler.hasten(collected)
        scheduler.cancel(collected, waits=False)

    def use() -> None:
        with at_each_line(finalize, scheduling):
            periodic = scheduler.every(0.01, is_called.set)
            is_called.wait(SECONDS)
            scheduler.cancel(periodic)

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(SECONDS)

    assert is_called.is_set()
    assert not thread.is_alive()
