"""Expressions that are assigned to rows, which only the database can work out."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import NotSupportedError
from django.db.models import Exists, F, OuterRef, Subquery, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Abs

from tests.support.batches import Runner
from tests.support.made_events import outcomes, processed
from tests.support.rows_app.models import Counter, Gauge, Owner, Visit

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


def test_an_expression_of_a_row_that_is_saved_by_itself_counts_once(
    runner: Runner, rows: Any
) -> None:
    Counter.objects.create(name="a", count=5)
    with runner.batch(2) as event:
        with event():
            counter = rows(Counter).get("a")
            counter.count = F("count") + 1
            counter.save()
            assert rows(Counter).get("a").count == 6
        with event():
            counter = rows(Counter).get("a")
            counter.count = F("count") + 1
            counter.save(update_fields=["count"])
            counter.total = 3
            counter.save(update_fields=["total"])

    counter = Counter.objects.get()
    assert (counter.count, counter.total) == (7, 3)


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


class _Levels:
    """What handlers do with a gauge, and with a counter that looks at it."""

    level = staticmethod(
        lambda: Subquery(Gauge.objects.filter(pk=1).values("level")) + F("total") * 10
    )

    @staticmethod
    def begin() -> None:
        Gauge.objects.all().delete()
        Gauge.objects.create(id=1, level=1)
        Gauge.objects.create(id=2)
        Counter.objects.create(name="a")


def _add_gauge(rows: Any) -> None:
    rows(Gauge).add(Gauge(id=3))


def _change_gauge(rows: Any) -> None:
    rows(Gauge).get(1).level += 1


def _increment_gauge(rows: Any) -> None:
    rows(Gauge).increment(1, level=1)


def _delete_gauge(rows: Any) -> None:
    assert rows(Gauge).delete(2)


def _express_gauge(rows: Any) -> None:
    rows(Gauge).get(2).level = Value(7)


def _look(rows: Any) -> None:
    rows(Counter).get("a").total = _Levels.level()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_add_gauge, marks=pytest.mark.any_database),
        _change_gauge,
        pytest.param(_increment_gauge, marks=pytest.mark.any_database),
        _delete_gauge,
        pytest.param(_express_gauge, marks=pytest.mark.any_database),
    ],
    ids=["added", "changed", "incremented", "deleted", "expressed"],
)
@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_an_expression_about_what_its_event_changes_is_refused(
    change: Any, is_first: bool
) -> None:
    def both(rows: Any) -> None:
        for do in (change, _look) if is_first else (_look, change):
            do(rows)

    # Whichever model is used first in a batch.
    for events in ([both], [_look, both, _look], [_change_gauge, both, _change_gauge]):
        found, failed = outcomes(Counter, events, begin=_Levels.begin)
        assert failed == {len(events) // 2 + 1}
        assert len(found) == 1
    assert isinstance(processed([both])[1], NotSupportedError)


def test_such_an_expression_is_worked_out_where_the_order_is_certain(
    runner: Runner, rows: Any
) -> None:
    _Levels.begin()
    totals = []
    with runner.batch(4) as event:
        for first, second in [(_change_gauge, _look), (_look, _change_gauge)] * 2:
            with event():
                first(rows)
                runner.view.refresh_rows()
                second(rows)
            totals.append(Counter.objects.get().total)

    assert totals == [2, 22, 224, 2244]
    assert Gauge.objects.get(pk=1).level == 5


def test_an_expression_about_others_says_what_to_write_instead() -> None:
    _Levels.begin()

    def look(rows: Any) -> None:
        _change_gauge(rows)
        rows(Counter).get("a").total = RawSQL("SELECT 1", ())

    failed = processed([look])

    assert str(failed[1]) == (
        "A Counter was assigned an expression about rows of Gauge, of which the same "
        "event has changed some, and which came first is not known; call "
        "self.refresh_rows() between the two"
    )


def test_an_expression_may_be_about_rows_that_its_event_leaves_alone() -> None:
    def look(rows: Any) -> None:
        assert rows(Gauge).get(1).level == 1
        rows(Owner).get_or_create("Ann")[0].visits += 1
        counter = rows(Counter).get("a")
        counter.count += 1
        counter.total = Subquery(
            Gauge.objects.filter(
                Exists(Gauge.objects.filter(pk=2, level__lte=OuterRef("level"))), pk=1
            ).values("level")
        )

    found, failed = outcomes(Counter, [look, look], begin=_Levels.begin)

    assert (found, failed) == ([("a", 2, 1)], set())
