"""Rules that only the database knows are kept to by each event of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models
from django.test.utils import isolate_apps

from django_esdb.recorders.rows.schema.unknown_rules import (
    UnknownRules,
    unknown_rules,
)
from tests.support.made_events import outcomes

pytestmark = pytest.mark.django_db(transaction=True)

LATE = "" if connection.vendor == "mysql" else "DEFERRABLE INITIALLY DEFERRED"
TABLE = f"""
    CREATE TABLE rows_app_ruled (
        id integer PRIMARY KEY, number integer NOT NULL, code integer NOT NULL,
        other_id integer NULL, price numeric(5, 1) NOT NULL, CHECK (number < 50),
        FOREIGN KEY (other_id) REFERENCES rows_app_ruled (id) {LATE}
    )
"""
INDEX = "CREATE UNIQUE INDEX rows_app_ruled_code ON rows_app_ruled (code)"


def ruled(*, is_managed: bool) -> type[Any]:
    with isolate_apps("tests.support.rows_app"):

        class Ruled(models.Model):
            id = models.IntegerField(primary_key=True)
            number = models.IntegerField(default=0)
            code = models.IntegerField(default=0)
            other_id = models.IntegerField(null=True)
            price = models.DecimalField(max_digits=6, decimal_places=2, default=0)

            class Meta:
                app_label = "rows_app"
                managed = is_managed

    return Ruled


@contextmanager
def made_by_hand(*statements: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE rows_app_ruled")


@pytest.mark.parametrize(
    ("name", "refused", "taken"),
    [("number", 50, 49), ("code", 2, 3), ("other_id", 9, 2)],
)
def test_what_an_event_leaves_is_refused_though_the_next_one_corrects_it(
    name: str, refused: int, taken: int
) -> None:
    model = ruled(is_managed=True)

    def begin() -> None:
        model.objects.create(id=1, code=1)
        model.objects.create(id=2, code=2)

    def change(value: int) -> Any:
        return lambda rows: setattr(rows(model).get(1), name, value)

    with made_by_hand(TABLE, INDEX):
        events = [change(refused), change(taken)]
        found, failed = outcomes(model, events, begin=begin)

    names = [field.attname for field in model._meta.fields]
    assert dict(zip(names, found[0], strict=True))[name] == taken
    assert failed == {1}


def test_a_row_is_not_deleted_to_which_others_refer_for_the_time_being() -> None:
    model = ruled(is_managed=True)

    def begin() -> None:
        model.objects.create(id=2)
        model.objects.create(id=1, other_id=2)

    with made_by_hand(TABLE):
        events = [
            lambda rows: rows(model).delete(2),
            lambda rows: setattr(rows(model).get(1), "other_id", None),
            lambda rows: rows(model).delete(2),
        ]
        found, failed = outcomes(model, events, begin=begin)

    assert [row[0] for row in found] == [1]
    assert failed == {1}


def test_an_unmanaged_models_columns_make_of_values_what_they_do() -> None:
    model = ruled(is_managed=False)

    def add(rows: Any) -> None:
        rows(model).get(1).price += Decimal("0.04")

    with made_by_hand(TABLE):
        found, failed = outcomes(
            model, [add] * 3, begin=lambda: model.objects.create(id=1)
        )

    # SQLite's columns have no types.
    price = Decimal("0.12" if connection.vendor == "sqlite" else "0.0")
    assert (found, failed) == ([(1, 0, 0, None, price)], set())


def test_models_tell_of_the_rules_that_django_makes() -> None:
    made = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed
    ]

    found = {model._meta.label: unknown_rules(connection, model) for model in made}
    assert found == dict.fromkeys(found, UnknownRules())
