"""Expressions that are assigned to rows, which only the database can work out."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import F, OuterRef, Subquery, Value
from django.db.models.functions import Abs

from tests.support.batches import Runner
from tests.support.made_events import outcomes, processed
from tests.support.rows_app.models import Counter, Gauge, Visit

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_expression_is_about_what_earlier_events_have_left() -> None:
    def add(rows: Any) -> None:
        rows(Counter).add(Counter(name="a", count=5))

    def double(rows: Any) -> None:
        rows(Counter).get("a").total = F("count") * 2

    def increment(rows: Any) -> None:
        rows(Counter).increment("a", count=1)

    def sum_up(rows: Any) -> None:
        rows(Counter).get("a").total = F("total") + F("count")

    found, failed = outcomes(Counter, [add, double, increment, sum_up, sum_up])

    assert (found, failed) == ([("a", 6, 22)], set())


def test_an_expression_is_about_other_rows_as_they_were_left() -> None:
    def change(rows: Any) -> None:
        gauge, _ = rows(Gauge).get_or_create(1)
        gauge.level += 3

    def look(rows: Any) -> None:
        counter = rows(Counter).get("a")
        level = Gauge.objects.filter(pk=OuterRef("count")).values("level")
        counter.total = F("total") * 10 + Subquery(level)

    def begin() -> None:
        Gauge.objects.all().delete()
        Counter.objects.create(name="a", count=1)

    events = [change, look, change, change, look]
    found, failed = outcomes(Counter, events, begin=begin)

    assert (found, failed) == ([("a", 1, 39)], set())


def test_an_expression_counts_once_and_is_worked_out_after_a_statement(
    runner: Runner, rows: Any
) -> None:
    Counter.objects.create(name="a", count=5)
    with runner.batch(2) as event:
        with event():
            counter = rows(Counter).get("a")
            counter.count = F("count") + 1
            counter.refresh_from_db()
            assert counter.count == 6
            Counter.objects.update(count=F("count") * 10)
        with event():
            counter = rows(Counter).get("a")
            counter.count = F("count") + 1
            assert Counter.objects.get().count == 61
            assert counter.count == 61
            counter.total = 3

    counter = Counter.objects.get()
    assert (counter.count, counter.total) == (61, 3)


def test_an_expression_is_about_a_row_that_is_there() -> None:
    def assign(rows: Any) -> None:
        rows(Counter).add(Counter(name="a", count=5)).total = Abs(F("count") - 7)

    def insert(rows: Any) -> None:
        rows(Visit).add(Visit(animal_id=None, number=F("id")))

    def work_out(rows: Any) -> None:
        rows(Counter).add(Counter(name="b", count=Abs(Value(-2)) + 1))

    failed = processed([assign, insert, work_out])

    advice = (
        ", which is about columns of a row that is not there yet; assign a value, or "
        "write the row first, by self.refresh_rows()"
    )
    assert [str(error) for error in failed.values()] == [
        f"Counter.total of a new row is Abs(F(count) - Value(7)){advice}",
        f"Visit.number of a new row is F(id){advice}",
    ]


def test_an_expression_is_about_a_row_that_was_written_in_its_event(
    runner: Runner, rows: Any
) -> None:
    with runner.batch(1) as event, event():
        counter = rows(Counter).add(Counter(name="a", count=5))
        runner.view.refresh_rows()
        counter.total = Abs(F("count") - 7)

    assert Counter.objects.get().total == 2
