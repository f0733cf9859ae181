"""Models whose managers leave out rows, by more than what is in these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import NotSupportedError, models
from django.db.models import F
from django.test.utils import isolate_apps

from tests.support.made_events import made_tables, outcomes

pytestmark = pytest.mark.django_db(transaction=True)

Filter = Callable[[Any], Any]


def model_found_by(filtered: Filter) -> tuple[Any, Any]:
    """Return a model whose manager finds what a filter leaves, and one it refers to."""
    with isolate_apps("tests.support.rows_app"):

        class Herd(models.Model):
            id = models.IntegerField(primary_key=True)
            is_here = models.BooleanField(default=True)

            class Meta:
                app_label = "rows_app"

        class OfHerds(models.Manager[Any]):
            def get_queryset(self) -> Any:
                return filtered(super().get_queryset())

        class Cow(models.Model):
            id = models.IntegerField(primary_key=True)
            milk = models.IntegerField(default=0)
            herd = models.ForeignKey(Herd, models.CASCADE)
            objects = OfHerds()

            class Meta:
                app_label = "rows_app"

    return Herd, Cow


@pytest.fixture
def herds() -> list[int]:
    """Return the herds whose cows are found, which a handler may change."""
    return []


def milk(cow: Any) -> Any:
    def event(rows: Any) -> None:
        found = rows(cow).get_or_none(1)
        if found is not None:
            found.milk += 1

    return event


def test_a_row_is_found_as_long_as_what_it_refers_to_lets_it() -> None:
    herd, cow = model_found_by(lambda cows: cows.filter(herd__is_here=True))

    def move(*, is_here: bool) -> Any:
        def event(rows: Any) -> None:
            rows(herd).get(1).is_here = is_here

        return event

    def begin() -> None:
        herd.objects.all().delete()
        herd.objects.create(id=1)
        cow.objects.create(id=1, herd_id=1)

    def move_and_milk(rows: Any) -> None:
        for is_here in (True, False):
            move(is_here=is_here)(rows)
            milk(cow)(rows)

    out, back = move(is_here=False), move(is_here=True)
    events = [milk(cow), out, milk(cow), back, milk(cow), move_and_milk, milk(cow)]
    with made_tables(herd, cow):
        found, failed = outcomes(cow, events, begin=begin)
        cow.objects.all().delete()

    assert (found, failed) == ([(1, 3, 1)], set())


def test_a_row_is_found_as_its_manager_is_told_for_each_event(
    herds: list[int],
) -> None:
    def filtered(cows: Any) -> Any:
        return cows.filter(herd__in=herds) if herds else cows

    herd, cow = model_found_by(filtered)

    def within(number: int, do: Any) -> Any:
        def event(rows: Any) -> None:
            herds[:] = [number]
            do(rows)
            herds.clear()

        return event

    def begin() -> None:
        herds.clear()
        herd.objects.all().delete()
        herd.objects.bulk_create([herd(id=1), herd(id=2)])

    def add(rows: Any) -> None:
        rows(cow).add(cow(id=1, herd_id=1))

    def move(rows: Any) -> None:
        rows(cow).get(1).herd_id = 2

    one, two = within(1, milk(cow)), within(2, milk(cow))
    with made_tables(herd, cow):
        found, failed = outcomes(
            cow, [one, add, two, one, one, move, one, two, milk(cow)], begin=begin
        )
        cow.objects.all().delete()

    assert (found, failed) == ([(1, 4, 2)], set())


def test_rows_of_a_manager_that_annotates_them_are_refused() -> None:
    herd, cow = model_found_by(lambda cows: cows.annotate(more=F("milk") + 1))
    _, found = model_found_by(lambda cows: cows.alias(more=F("milk") + 1))

    def event(rows: Any) -> None:
        with pytest.raises(NotSupportedError, match="annotates more, which rows would"):
            rows(cow)
        rows(found)
        assert cow.objects.get(pk=1).more == 1

    def begin() -> None:
        herd.objects.get_or_create(pk=1)
        cow.objects.create(pk=1, herd_id=1)

    with made_tables(herd, cow):
        assert outcomes(cow, [event, event], begin=begin) == ([(1, 0, 1)], set())
