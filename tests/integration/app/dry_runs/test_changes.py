"""Which changes of rows are found, whichever way they come about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, models
from eventsourcing.persistence import Tracking

from tests.support.dry_runs import Tried, changed, execute
from tests.support.rows_app.models import Animal, Counter, Owner, Visit

pytestmark = pytest.mark.django_db(transaction=True)


def test_rows_by_the_plain_orm(tried: Tried) -> None:
    Owner.objects.create(name="Ann")
    Owner.objects.create(name="Bob", visits=3)
    Owner.objects.create(name="Cid", visits=9)

    def act(view: Any, tracking: Tracking) -> None:
        Owner.objects.filter(visits__gt=1).update(visits=models.F("visits") + 1)
        Owner.objects.get(name="Ann").delete()
        Owner.objects.bulk_create([Owner(name="Dee"), Owner(name="Eve")])
        Owner.objects.filter(name="Eve").update(visits=5)
        Owner.objects.filter(name="Cid").update(visits=9)

    run = tried(act)

    assert {
        (model, pk): (before and before["visits"], after and after["visits"])
        for model, pk, before, after in changed(run)
    } == {
        ("rows_app.Owner", "Bob"): (3, 4),
        ("rows_app.Owner", "Ann"): (0, None),
        ("rows_app.Owner", "Dee"): (None, 0),
        ("rows_app.Owner", "Eve"): (None, 5),
    }
    assert Owner.objects.count() == 3


def test_rows_by_raw_sql(tried: Tried) -> None:
    Counter.objects.create(name="a")

    def act(view: Any, tracking: Tracking) -> None:
        with connection.cursor() as cursor:
            cursor.execute("/* a word */ UPDATE rows_app_counter SET count = 2")
            cursor.execute(
                "INSERT INTO rows_app_counter (name, count, total) "
                "SELECT 'b', count, 7 FROM rows_app_counter"
            )

    assert [
        (pk, before and before["count"], after["count"])
        for _, pk, before, after in changed(tried(act))
    ] == [("a", 0, 2), ("b", None, 2)]


def test_rows_that_django_deletes_with_others(tried: Tried) -> None:
    owner = Owner.objects.create(name="Ann")
    animal = Animal.objects.create(name="Fido", owner=owner)
    visit = Visit.objects.create(animal=animal, number=1)

    run = tried(lambda view, tracking: owner.delete())

    assert {(model, pk): after for model, pk, _, after in changed(run)} == {
        ("rows_app.Visit", visit.pk): None,
        ("rows_app.Animal", animal.pk): None,
        ("rows_app.Owner", "Ann"): None,
    }
    assert Visit.objects.exists()


@contextmanager
def tables(*statements: str) -> Iterator[None]:
    """Make tables of no model, and drop them at the end."""
    with connection.cursor() as cursor:
        try:
            for statement in statements:
                cursor.execute(statement)
            yield
        finally:
            for name in ("dry_child", "dry_parent"):
                cursor.execute(f"DROP TABLE IF EXISTS {name}")
            if connection.vendor == "postgresql":
                cursor.execute("DROP FUNCTION IF EXISTS dry_add()")


PARENT = "CREATE TABLE dry_parent (id INTEGER PRIMARY KEY)"

CHILD = (
    "CREATE TABLE dry_child (id INTEGER PRIMARY KEY, parent INTEGER, "
    "FOREIGN KEY (parent) REFERENCES dry_parent (id) ON DELETE CASCADE)"
)


def test_rows_that_the_database_deletes_with_others(tried: Tried) -> None:
    with tables(
        PARENT,
        CHILD,
        "INSERT INTO dry_parent VALUES (1), (2)",
        "INSERT INTO dry_child VALUES (10, 1), (20, 2)",
    ):
        run = tried(execute("DELETE FROM dry_parent WHERE id = 2"))

    assert sorted(changed(run)) == [
        ("dry_child", 20, {"id": 20, "parent": 2}, None),
        ("dry_parent", 2, {"id": 2}, None),
    ]


def test_rows_that_a_trigger_changes(tried: Tried) -> None:
    statement = "INSERT INTO dry_child (id) VALUES (NEW.id + 1)"
    trigger = ["CREATE TRIGGER dry_add AFTER INSERT ON dry_parent FOR EACH ROW {}"]
    if connection.vendor == "postgresql":
        trigger = [
            "CREATE FUNCTION dry_add() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {statement}; RETURN NEW; END $$",
            trigger[0].format("EXECUTE FUNCTION dry_add()"),
        ]
    elif connection.vendor == "sqlite":
        trigger = [trigger[0].format(f"BEGIN {statement}; END")]
    else:
        trigger = [trigger[0].format(statement)]
    with tables(PARENT, CHILD, *trigger):
        run = tried(execute("INSERT INTO dry_parent VALUES (1)"))

    assert sorted(changed(run)) == [
        ("dry_child", 2, None, {"id": 2, "parent": None}),
        ("dry_parent", 1, None, {"id": 1}),
    ]


def test_rows_without_a_key(tried: Tried) -> None:
    with tables(
        "CREATE TABLE dry_parent (id INTEGER)",
        "INSERT INTO dry_parent VALUES (1), (1), (2)",
    ):
        run = tried(execute("DELETE FROM dry_parent WHERE id = 2"))
        same = tried(execute("INSERT INTO dry_parent VALUES (1)"))

    assert changed(run) == [("dry_parent", None, {"id": 2}, None)]
    assert changed(same) == [("dry_parent", None, None, {"id": 1})]
