"""Reading rows leaves alone what an event has in hand, whatever its batch."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.models import F
from django.test.utils import isolate_apps

from tests.support.made_events import made_tables, outcomes, processed
from tests.support.rows_app.models import Counter, Gauge, Keeper

pytestmark = pytest.mark.django_db(transaction=True)


def begin() -> None:
    Gauge.objects.all().delete()
    Keeper.objects.all().delete()
    Counter.objects.all().delete()
    Gauge.objects.create(id=1)
    Gauge.objects.create(id=2)
    Keeper.objects.create(name="Ann", badge="a")
    Counter.objects.create(name="a", count=1)


def read(rows: Any) -> None:
    rows(Gauge).get(2)
    rows(Keeper, key="badge").get_or_none("none")
    rows(Counter).get_or_none("none")


def write_otherwise(rows: Any) -> None:
    Gauge.objects.filter(pk=1).update(width=5)


def read_a_gauge(rows: Any) -> None:
    rows(Gauge).get(2)


def read_some_gauges(rows: Any) -> None:
    rows(Gauge).filter(pk__in=[1, 2])


def look_for_a_badge(rows: Any) -> None:
    rows(Keeper, key="badge").get_or_none("none")


def look_for_a_key(rows: Any) -> None:
    rows(Counter).get_or_none("none")


@pytest.mark.parametrize(
    "reading", [read_a_gauge, read_some_gauges, look_for_a_badge, look_for_a_key]
)
def test_an_expression_is_replaced_though_rows_are_read_before(reading: Any) -> None:
    def count(rows: Any) -> None:
        counter = rows(Counter).get("a")
        counter.count = F("count") + 1
        reading(rows)
        counter.count = F("count") + 10

    rows, failed = outcomes(Counter, [read, write_otherwise, count, count], begin=begin)

    assert rows == [("a", 21, 0)]
    assert not failed


def test_a_row_in_hand_is_read_again_when_it_is_asked_for() -> None:
    def change(rows: Any) -> None:
        gauge = rows(Gauge).get(1)
        Gauge.objects.filter(pk=1).update(level=50)
        rows(Gauge).get(2)
        assert gauge.level == 0
        gauge.width = 3

    def see(rows: Any) -> None:
        gauge = rows(Gauge).get(1)
        Gauge.objects.filter(pk=1).update(level=60)
        rows(Gauge).get(2)
        assert rows(Gauge).get(1).level == gauge.level == 60

    rows, failed = outcomes(Gauge, [read, change, see], begin=begin)

    # A save writes all columns, as they were when the row was got.
    assert rows[0][:3] == (1, 60, 3)
    assert not failed


class _Living(models.Manager[Any]):
    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(is_gone=False)


def test_a_row_that_its_manager_does_not_find_any_more_can_be_changed() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Hidden(models.Model):
            id = models.IntegerField(primary_key=True)
            is_gone = models.BooleanField(default=False)
            level = models.IntegerField(default=0)
            objects = _Living()

            class Meta:
                app_label = "rows_app"

    def hide(rows: Any) -> None:
        row = rows(Hidden).get(1)
        row.is_gone = True
        assert rows(Hidden).get_or_none(1) is None
        row.level += 1

    def hide_and_show(rows: Any) -> None:
        row = rows(Hidden).get(2)
        row.is_gone = True
        assert rows(Hidden).get_or_none(2) is None
        row.is_gone = False

    def see(rows: Any) -> None:
        assert rows(Hidden).get_or_none(1) is None
        rows(Hidden).get(2).level += 5

    def begin() -> None:
        Hidden.objects.create(id=1)
        Hidden.objects.create(id=2)

    with made_tables(Hidden):
        rows, failed = outcomes(Hidden, [hide, hide_and_show, see, see], begin=begin)

    assert rows == [(1, True, 1), (2, False, 10)]
    assert not failed


def test_a_row_that_is_gone_is_not_changed_in_silence() -> None:
    def change(rows: Any) -> None:
        gauge = rows(Gauge).get(1)
        Gauge.objects.filter(pk=1).delete()
        assert rows(Gauge).get_or_none(1) is None
        gauge.level = 5

    begin()
    failed = processed([read, change])

    assert "after it had been deleted" in str(failed[2])
