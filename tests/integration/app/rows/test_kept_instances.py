"""Instances that something holds beyond their event are as that has left them."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from tests.support.batches import Runner
from tests.support.made_events import processed
from tests.support.rows_app.models import Animal, Counter, Gauge, Owner, Specimen, Visit

pytestmark = pytest.mark.django_db(transaction=True)

BATCHES: list[list[int]] = [[1, 1, 1], [], [1], [2]]
SPECIMEN = "5c4a1d0e-0000-0000-0000-000000000001"


@pytest.mark.parametrize("sizes", BATCHES)
def test_callbacks_find_rows_as_their_event_has_left_them(sizes: list[int]) -> None:
    called: list[Any] = []
    Specimen.objects.create(id=SPECIMEN, data=[0])
    Gauge.objects.create(id=1, width=2)

    def change(rows: Any) -> None:
        specimen = rows(Specimen).get(SPECIMEN)
        specimen.data.append(specimen.data[-1] + 1)
        gauge = rows(Gauge).get(1)
        gauge.level += 1
        counter, _ = rows(Counter).get_or_create("a")
        counter.count += 1
        transaction.on_commit(
            lambda: called.append((specimen.data, gauge.level, counter.count))
        )

    assert not processed([change] * 3, sizes)
    assert called == [([0, 1], 1, 1), ([0, 1, 2], 2, 2), ([0, 1, 2, 3], 3, 3)]


@pytest.mark.parametrize("sizes", BATCHES)
def test_callbacks_find_new_rows_as_those_that_are_there(sizes: list[int]) -> None:
    called: list[Any] = []

    def change(rows: Any) -> None:
        counter, is_new = rows(Counter).get_or_create("a")
        counter.count += 1
        transaction.on_commit(
            lambda: called.append(
                (is_new, counter.count, counter._state.adding, counter._state.db)
            )
        )

    assert not processed([change] * 3, sizes)
    assert called == [(n == 1, n, False, "default") for n in (1, 2, 3)]


@pytest.mark.parametrize("sizes", BATCHES)
@pytest.mark.parametrize("made", [Counter, Owner])
def test_what_is_held_of_a_deleted_row_has_its_key(
    made: type[Any], sizes: list[int]
) -> None:
    called: list[Any] = []

    def add_and_delete(rows: Any) -> None:
        row = rows(made).add(made(name="a"))
        transaction.on_commit(lambda: called.append(row.pk))
        assert rows(made).delete("a")

    assert not processed([add_and_delete] * 2, sizes)
    assert called == ["a"] * 2


def test_what_is_held_is_not_what_the_next_event_is_given(
    runner: Runner, rows: Any
) -> None:
    Counter.objects.create(name="a")
    with runner.batch(2) as event:
        with event():
            kept = rows(Counter).get("a")
            kept.count = 1
        with event():
            rows(Counter).get("a").count += 1
            assert kept.count == 1

    assert Counter.objects.get().count == 2


@pytest.mark.parametrize("held", [0, 1])
def test_a_change_through_an_instance_of_an_earlier_event_is_an_error(
    runner: Runner, rows: Any, held: int
) -> None:
    Counter.objects.create(name="a")
    kept: list[Any] = []
    with pytest.raises(Exception, match="an instance of an earlier event"):  # noqa: SIM117
        with runner.batch(3) as event:
            for _ in range(2):
                with event():
                    kept.append(rows(Counter).get("a"))
            with event():
                kept[held].count = 5


def test_an_instance_of_an_earlier_event_may_be_saved_by_itself(
    runner: Runner, rows: Any
) -> None:
    Counter.objects.create(name="a")
    kept: list[Any] = []
    with runner.batch(4) as event:
        for _ in range(2):
            with event():
                kept.append(rows(Counter).get("a"))
        with event():
            kept[0].count = 5
            kept[0].save()
        with event():
            assert rows(Counter).get("a").count == 5
            rows(Counter).get("a").count += 1

    assert Counter.objects.get().count == 6


def test_an_instance_of_an_earlier_event_gets_the_key_that_the_database_chooses(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    with runner.batch(2) as event:
        with event():
            kept = rows(Visit).add(Visit(animal=animal, number=1))
        with event():
            visit = Visit.objects.get()
            assert (kept.pk, kept._state.adding) == (visit.pk, False)
