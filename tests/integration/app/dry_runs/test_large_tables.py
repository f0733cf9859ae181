"""What is found of tables of which not all rows are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, models
from eventsourcing.persistence import Tracking

from django_esdb.debugging.dry_run import EventRun
from tests.support.dry_runs import execute, values
from tests.support.rows_app.models import Animal, Owner, Visit

pytestmark = pytest.mark.django_db(transaction=True)

LARGE = 20


@pytest.fixture
def large() -> None:
    """More owners, animals and visits than are read at once."""
    Owner.objects.bulk_create([Owner(name=f"n{n:02}", visits=n) for n in range(30)])
    Animal.objects.bulk_create(
        [Animal(id=UUID(int=n), name=f"n{n:02}") for n in range(30)]
    )
    Visit.objects.bulk_create(
        [Visit(animal_id=UUID(int=n), number=n) for n in range(30)]
    )


def test_of_large_tables_the_rows_are_read_that_statements_name(
    tried: Callable[..., EventRun], large: None
) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        Owner.objects.filter(visits__gte=28).update(visits=models.F("visits") * 2)
        Owner.objects.create(name="new", visits=1)
        Owner.objects.bulk_create([Owner(name="x"), Owner(name="y")])
        owner = Owner.objects.get(name="n03")
        owner.visits = 33
        owner.save()
        Owner.objects.filter(name__in=["n01", "n02"]).delete()
        Visit.objects.create(animal_id=UUID(int=1), number=100)
        Visit.objects.filter(number=5).delete()

    run = tried(act, large_table=LARGE)

    assert run.notes == ()
    assert values(run, "rows_app.Owner", "name", "visits") == {
        *(("n28", 28, 56), ("n29", 29, 58), ("n03", 3, 33)),
        *(("new", None, 1), ("x", None, 0), ("y", None, 0)),
        *(("n01", 1, None), ("n02", 2, None)),
    }
    assert values(run, "rows_app.Visit", "animal_id", "number") == {
        (UUID(int=1), None, 100),
        (UUID(int=5), 5, None),
    }


def test_of_large_tables_rows_that_may_be_there_already(
    tried: Callable[..., EventRun], large: None
) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        rows = [Owner(name="n01", visits=7), Owner(name="new", visits=7)]
        Owner.objects.bulk_create(rows, ignore_conflicts=True)
        if connection.features.supports_update_conflicts_with_target:
            Owner.objects.bulk_create(
                [Owner(name="n02", visits=8)],
                update_conflicts=True,
                update_fields=["visits"],
                unique_fields=["name"],
            )

    run = tried(act, large_table=LARGE)

    assert run.notes == ()
    found = values(run, "rows_app.Owner", "name", "visits")
    assert found - {("n02", 2, 8)} == {("new", None, 7)}


def test_of_large_tables_rows_that_are_kept_in_memory(
    tried: Callable[..., EventRun], large: None
) -> None:
    def act(view: Any, tracking: Tracking) -> None:
        rows = view.rows(Animal)
        for number in (3, 4):
            rows.get(UUID(int=number)).tricks.append("sit")
        rows.add(Animal(id=UUID(int=99), name="new"))
        view.rows(Owner).delete("n05")
        view.rows(Visit).add(Visit(animal_id=UUID(int=99), number=0))

    run = tried(act, large_table=LARGE)

    assert run.notes == ()
    assert values(run, "rows_app.Animal", "name", "tricks") == {
        ("n03", "[]", "['sit']"),
        ("n04", "[]", "['sit']"),
        ("new", None, "[]"),
    }
    assert values(run, "rows_app.Owner", "name", "visits") == {("n05", 5, None)}
    assert values(run, "rows_app.Visit", "animal_id", "number") == {
        (UUID(int=99), None, 0)
    }


def test_what_is_not_certain_of_large_tables_is_told(
    tried: Callable[..., EventRun], large: None
) -> None:
    all_of_them = tried(
        lambda view, tracking: Owner.objects.update(visits=1), large_table=LARGE
    )
    selected = tried(
        execute(
            "INSERT INTO rows_app_counter (name, count, total) "
            "SELECT name, 1, 1 FROM rows_app_owner",
            "INSERT INTO rows_app_counter (name, count, total) VALUES ('x', 1, 1)",
        ),
        large_table=LARGE,
    )
    renamed = tried(
        lambda view, tracking: Owner.objects.filter(name="n01").update(name="m"),
        large_table=LARGE,
    )

    assert "is about more than 20 rows of rows_app.Owner" in all_of_them.notes[0]
    # It had few rows before.
    assert (len(selected.changes), selected.notes) == (31, ())
    assert "rows_app.Owner has more than 20 rows" in renamed.notes[0]
