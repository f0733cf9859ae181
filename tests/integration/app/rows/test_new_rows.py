"""New rows that a handler continues with before they are written."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connection, models, transaction
from django.test.utils import isolate_apps

from tests.support.batches import Runner
from tests.support.made_events import made_tables, outcomes, processed
from tests.support.rows_app.models import (
    Animal,
    Counter,
    Keeper,
    Pack,
    Permit,
    Specimen,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_new_rows_can_be_put_into_relations_to_many(runner: Runner, rows: Any) -> None:
    pack = Pack.objects.create(title="a")
    with runner.batch(2) as event:
        with event():
            specimen = rows(Specimen).add(Specimen(text="new"))
            rows(Pack).get(pack.pk).members.add(specimen)
        with event():
            specimen, _ = rows(Specimen).get_or_create(specimen.pk)
            other = rows(Specimen).add(Specimen(text="other"))
            rows(Pack).get(pack.pk).members.set([specimen, other])

    assert sorted(pack.members.values_list("text", flat=True)) == ["new", "other"]


@pytest.mark.parametrize("sizes", [[1, 1, 1], []], ids=["singly", "together"])
def test_keys_follow_the_order_in_which_rows_are_added(sizes: list[int]) -> None:
    Keeper.objects.create(name="Ann")
    before = Permit.objects.create(keeper_id="Ann", number=0).pk

    def add(number: int, **key: int) -> Any:
        return lambda rows: rows(Permit).add(
            Permit(keeper_id="Ann", number=number, **key)
        )

    failed = processed([add(1), add(2, id=before + 1000), add(3)], sizes)

    keys = dict(Permit.objects.values_list("number", "id"))
    goes_on_at_highest = connection.vendor != "postgresql"
    assert not failed
    assert {number: key - before for number, key in keys.items()} == {
        0: 0,
        1: 1,
        2: 1000,
        3: 1001 if goes_on_at_highest else 2,
    }


def test_the_databases_defaults_are_seen_after_the_next_statement(
    runner: Runner, rows: Any
) -> None:
    with runner.batch(1) as event, event():
        animal = rows(Animal).add(Animal(name="Fido", weight="2.5"))
        Keeper.objects.count()
        assert animal.mood == "calm"
        assert animal.born is not None
        animal.mood += "er"

    assert Animal.objects.get().mood == "calmer"


def test_a_reference_to_a_row_of_any_model_gets_its_key() -> None:
    with isolate_apps("tests.support.rows_app", "django.contrib.contenttypes"):

        class Remark(models.Model):
            id = models.IntegerField(primary_key=True)
            kind = models.ForeignKey(ContentType, models.CASCADE, null=True)
            about_id = models.IntegerField(null=True)
            about = GenericForeignKey("kind", "about_id")

            class Meta:
                app_label = "rows_app"

    def begin() -> None:
        Permit.objects.all().delete()
        Keeper.objects.all().delete()
        Keeper.objects.create(name="Ann")

    def add(number: int) -> Any:
        def event(rows: Any) -> None:
            permit = rows(Permit).add(Permit(keeper_id="Ann", number=number))
            if number == 1:
                rows(Remark).add(Remark(id=number, about=permit))
            else:
                rows(Remark).add(Remark(id=number)).about = permit

        return event

    def lead_nowhere(rows: Any) -> None:
        rows(Remark).add(Remark(id=9, about=Permit(keeper_id="Ann", number=9)))

    with made_tables(Remark):
        for sizes in ([1, 1, 1], []):
            Remark.objects.all().delete()
            begin()
            failed = processed([add(1), add(2), lead_nowhere], sizes)

            assert {n: str(error) for n, error in failed.items()} == {
                3: "Remark.about is a Permit that is not saved; add it to its rows "
                "first"
            }
            numbers = {r.pk: r.about.number for r in Remark.objects.all()}
            assert numbers == {1: 1, 2: 2}


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="has no such limit")
def test_more_rows_are_deleted_than_a_statement_has_parameters() -> None:
    keys = [f"counter {number}" for number in range(250)]

    def delete(rows: Any) -> None:
        for key in keys:
            assert rows(Counter).delete(key)

    def begin() -> None:
        Counter.objects.bulk_create(map(Counter, keys), batch_size=20)

    connection.ensure_connection()
    kind = sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER
    before = connection.connection.setlimit(kind, 100)
    try:
        found, failed = outcomes(Counter, [delete], begin=begin)
    finally:
        connection.connection.setlimit(kind, before)

    assert (found, failed) == ([], set())


@pytest.mark.parametrize("sizes", [[], [1, 1, 1]])
def test_a_new_row_that_a_savepoint_undid_is_not_found_by_its_unique_value(
    sizes: list[int],
) -> None:
    def add(rows: Any) -> None:
        with suppress(IntegrityError, ZeroDivisionError), transaction.atomic():
            rows(Pack, key="title").get_or_none("a")
            rows(Pack).add(Pack(title="a"))
            rows(Pack, key="title").get("a").rank += 1
            raise ZeroDivisionError
        assert rows(Pack, key="title").get_or_none("a") is None

    def add_again(rows: Any) -> None:
        with suppress(IntegrityError), transaction.atomic():
            rows(Pack).add(Pack(title="b"))
        rows(Pack, key="title").get("b").rank += 1

    def find(rows: Any) -> None:
        rows(Pack, key="title").get("b").rank += 1

    Pack.objects.create(title="b")
    assert not processed([add, find, add_again], sizes)
    assert list(Pack.objects.values_list("title", "rank")) == [("b", 2)]


def test_a_key_is_the_databases_default_also_if_no_statement_follows() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Named(models.Model):
            # Not an integer, for which SQLite chooses a number where nothing is given.
            id = models.CharField(primary_key=True, max_length=9, db_default="first")
            count = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"

    def add(rows: Any) -> None:
        rows(Named).add(Named())

    def change(rows: Any) -> None:
        rows(Named).get("first").count += 1

    with made_tables(Named):
        assert outcomes(Named, [add, change, add]) == ([("first", 1)], {3})
