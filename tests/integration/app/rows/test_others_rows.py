"""Models whose rows change with another one's, behind their unit of work."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import NotSupportedError, connection, models
from django.test.utils import isolate_apps

from tests.support.made_events import processed
from tests.support.rows_app.models import Counter

pytestmark = pytest.mark.django_db(transaction=True)


def count(rows: Any) -> None:
    rows(Counter).increment("a", count=1)


@pytest.mark.parametrize("sizes", [[], [1, 1, 1]])
def test_rows_of_a_view_are_refused(sizes: list[int]) -> None:
    with isolate_apps("tests.support.rows_app"):

        class Doubled(models.Model):
            name = models.CharField(max_length=20, primary_key=True)
            twice = models.IntegerField()

            class Meta:
                app_label = "rows_app"
                managed = False
                db_table = "rows_app_doubled"

    def look(rows: Any) -> None:
        with pytest.raises(NotSupportedError, match="is a view, whose rows change"):
            rows(Doubled)
        rows(Counter).get("a").total += Doubled.objects.get(pk="a").twice

    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE VIEW rows_app_doubled AS "
            "SELECT name, 2 * count AS twice FROM rows_app_counter"
        )
    # What is known of a connection's tables is asked once.
    connection.close()
    try:
        failed = processed([count, look, count, look], sizes)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP VIEW rows_app_doubled")

    assert not failed
    assert Counter.objects.values_list("count", "total").get() == (2, 6)


@pytest.mark.parametrize("sizes", [[], [1, 1, 1]])
def test_rows_of_a_second_model_of_a_table_are_refused(sizes: list[int]) -> None:
    with isolate_apps("tests.support.rows_app"):

        class Owning(models.Model):
            name = models.CharField(max_length=20, primary_key=True)

            class Meta:
                app_label = "rows_app"
                db_table = "rows_app_counter"

        class Second(models.Model):
            name = models.CharField(max_length=20, primary_key=True)
            count = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"
                managed = False
                db_table = "rows_app_counter"

    def count_as_well(rows: Any) -> None:
        with pytest.raises(NotSupportedError, match=r"use rows\(Owning\)"):
            rows(Second)
        Second.objects.filter(pk="a").update(count=models.F("count") + 10)

    assert not processed([count, count_as_well, count, count_as_well], sizes)
    assert Counter.objects.get().count == 22
