"""What is deleted and changed with a row that is deleted, or changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from tests.support.made_events import made_tables, outcomes

pytestmark = pytest.mark.django_db(transaction=True)


def family(on_delete: Any, below: Any = models.CASCADE) -> tuple[Any, Any, Any]:
    """Return a model, one that refers to it, and one that refers to that."""
    with isolate_apps("tests.support.rows_app"):

        class Parent(models.Model):
            id = models.IntegerField(primary_key=True)

            class Meta:
                app_label = "rows_app"

        class Child(models.Model):
            id = models.IntegerField(primary_key=True)
            parent = models.ForeignKey(Parent, on_delete, default=9)

            class Meta:
                app_label = "rows_app"

        class Grandchild(models.Model):
            id = models.IntegerField(primary_key=True)
            child = models.ForeignKey(Child, below, null=True)
            seen = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"

    return Parent, Child, Grandchild


def delete_first(model: Any) -> Any:
    return lambda rows: rows(model).delete(1)


@pytest.mark.parametrize("name", ["CASCADE", "DB_CASCADE"])
def test_what_is_left_below_what_goes_along_is_looked_at(name: str) -> None:
    if not hasattr(models, name):
        pytest.skip("this Django has none")
    parent, child, grandchild = family(getattr(models, name), models.DO_NOTHING)

    def begin() -> None:
        models.QuerySet(child).delete()
        models.QuerySet(parent).delete()
        parent.objects.create(id=1)
        child.objects.create(id=1, parent_id=1)
        grandchild.objects.create(id=1, child_id=1)

    with made_tables(parent, child, grandchild):
        # What still refers to the child is deleted too late.
        events = [delete_first(parent), delete_first(grandchild)]
        assert outcomes(grandchild, events, begin=begin) == ([], {1})
        assert child.objects.exists()

        events = [delete_first(grandchild), delete_first(parent)]
        assert outcomes(grandchild, events, begin=begin) == ([], set())
        assert not child.objects.exists()


def test_a_default_that_a_deletion_leaves_has_to_be_there() -> None:
    parent, child, grandchild = family(models.SET_DEFAULT)

    def begin() -> None:
        parent.objects.all().delete()
        parent.objects.create(id=1)
        child.objects.create(id=1, parent_id=1)

    def add_default(rows: Any) -> None:
        rows(parent).add(parent(id=9))

    with made_tables(parent, child, grandchild):
        events = [delete_first(parent), add_default]
        assert outcomes(child, events, begin=begin) == ([(1, 1)], {1})

        events = [add_default, delete_first(parent)]
        assert outcomes(child, events, begin=begin) == ([(1, 9)], set())


@contextmanager
def acting_tables(action: str) -> Iterator[tuple[Any, Any]]:
    """Have two tables of whose reference with its actions Django does not know."""
    with isolate_apps("tests.support.rows_app"):

        class Room(models.Model):
            id = models.IntegerField(primary_key=True)
            code = models.IntegerField(unique=True)

            class Meta:
                app_label = "rows_app"

        class Guest(models.Model):
            id = models.IntegerField(primary_key=True)
            room_code = models.IntegerField(null=True)
            seen = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"

    late = "" if connection.vendor == "mysql" else "DEFERRABLE INITIALLY DEFERRED"
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE rows_app_room "
            "(id integer PRIMARY KEY, code integer NOT NULL UNIQUE)"
        )
        cursor.execute(
            "CREATE TABLE rows_app_guest (id integer PRIMARY KEY, room_code integer "
            f"REFERENCES rows_app_room (code) ON UPDATE CASCADE ON DELETE {action} "
            f"{late}, seen integer NOT NULL)"
        )
    # What tables do is asked on each new connection.
    connection.close()
    try:
        yield Room, Guest
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE rows_app_guest")
            cursor.execute("DROP TABLE rows_app_room")


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
def test_rows_are_as_the_databases_references_have_made_them(action: str) -> None:
    with acting_tables(action) as (room, guest):

        def begin() -> None:
            room.objects.all().delete()
            for number in (1, 2):
                room.objects.create(id=number, code=number)
                guest.objects.create(id=number, room_code=number)

        def look(rows: Any) -> None:
            found = [rows(guest).get_or_none(number) for number in (1, 2)]
            codes = [each.room_code or 5 for each in found if each is not None]
            rows(guest).get(2).seen = 10 * rows(guest).get(2).seen + sum(codes)

        def recode(rows: Any) -> None:
            rows(room).get(2).code = 3

        def add(rows: Any) -> None:
            rows(guest).add(guest(id=3, room_code=1))

        events = [look, add, look, delete_first(room), look, recode, look]
        found, failed = outcomes(guest, events, begin=begin)

        if action == "CASCADE":
            assert found == [(2, 3, 3323)]
        else:
            assert found == [(1, None, 0), (2, 3, 3378), (3, None, 0)]
        assert not failed
