"""IDs that appear later than higher ones, as on MariaDB."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections, transaction

from django_esdb.subscriptions import commit_order
from django_esdb.subscriptions.commit_order import Unordered
from tests.support.rows_app.models import Animal, Visit

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(commit_order, "monotonic", clock)
    return clock


@pytest.fixture
def order() -> Unordered:
    if connection.vendor != "mysql":
        pytest.skip("other databases have the order, or no dirty reads")
    return Unordered(Visit, "default")


@pytest.fixture
def animal(order: Unordered) -> Animal:
    return Animal.objects.create(name="Fido")


def visit(animal: Animal) -> int:
    return Visit.objects.create(animal=animal, number=0).pk


@contextmanager
def uncommitted(animal: Animal, *, commits: bool) -> Iterator[int]:
    """Have another connection insert a row; it is committed, or not, at the end."""
    inserted, ending = threading.Event(), threading.Event()
    keys: list[int] = []

    def insert() -> None:
        try:
            with transaction.atomic():
                keys.append(visit(animal))
                inserted.set()
                ending.wait(60)
                transaction.set_rollback(not commits)
        finally:
            inserted.set()
            connections.close_all()

    thread = threading.Thread(target=insert)
    thread.start()
    assert inserted.wait(60)
    try:
        yield keys[0]
    finally:
        ending.set()
        thread.join(60)


def test_what_is_not_committed_is_waited_for(
    order: Unordered, animal: Animal, clock: Clock
) -> None:
    first = visit(animal)
    with uncommitted(animal, commits=True) as late:
        last = visit(animal)
        assert late < last
        assert order.high_water_mark(first - 1, last) == first
        # However long it takes.
        clock.now += 3600
        assert order.high_water_mark(first, last) == first

    assert order.high_water_mark(first, last) == last


def test_a_gap_is_waited_for_while_it_is_new(
    order: Unordered, animal: Animal, clock: Clock
) -> None:
    first = visit(animal)
    with uncommitted(animal, commits=False):
        last = visit(animal)

    # It may belong to a row that is about to be inserted.
    assert order.high_water_mark(first - 1, last) == first
    clock.now += 1.5
    assert order.high_water_mark(first, last) == last


def test_old_gaps_are_not_waited_for_again(
    order: Unordered, animal: Animal, clock: Clock
) -> None:
    first = visit(animal)
    order.high_water_mark(first - 1, first)
    clock.now += 1.5
    with uncommitted(animal, commits=False):
        last = visit(animal)
    assert order.high_water_mark(first, last) == first
    clock.now += 1.5
    latest = visit(animal)

    assert order.high_water_mark(first, latest) == latest


def test_many_are_compared_a_part_at_a_time(
    order: Unordered, animal: Animal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_order, "_CHUNK", 2)
    first = visit(animal)
    for _ in range(4):
        visit(animal)
    with uncommitted(animal, commits=True) as late:
        for _ in range(4):
            last = visit(animal)
        assert order.high_water_mark(first - 1, last) == late - 1

    assert order.high_water_mark(late - 1, last) == last


def test_dirty_reads_are_of_one_statement_only(
    order: Unordered, animal: Animal, clock: Clock
) -> None:
    first = visit(animal)
    with uncommitted(animal, commits=False) as late:
        order.high_water_mark(first - 1, first)
        assert not Visit.objects.filter(pk=late).exists()


def test_other_recorders_have_the_order() -> None:
    recorder: Any = object()
    assert isinstance(commit_order.commit_order(recorder), commit_order.Ordered)
