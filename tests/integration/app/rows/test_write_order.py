"""The order in which a batch's rows are written is one that the database sees."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, models
from django.db.models import F
from django.test.utils import isolate_apps

from django_esdb.db.vendors import checks_references_late, ignores_case
from tests.support.batches import Runner
from tests.support.made_events import made_tables, outcomes
from tests.support.rows_app.models import (
    Chip,
    Gauge,
    Keeper,
    Owner,
    Permit,
    Region,
    Site,
    Specimen,
)

pytestmark = pytest.mark.django_db(transaction=True)


def names_by_key() -> list[str]:
    return list(Site.objects.order_by("pk").values_list("name", flat=True))


def test_rows_that_the_database_numbers_keep_their_order(
    runner: Runner, rows: Any
) -> None:
    Owner.objects.create(name="there")
    with runner.batch(3) as event:
        with event():
            rows(Owner).add(Owner(name="new"))
            rows(Site).add(Site(name="first", owner_id="new"))
        with event():
            rows(Site).add(Site(name="second", owner_id="there"))
        with event():
            rows(Site).add(Site(name="third"))

    assert names_by_key() == ["first", "second", "third"]


def test_rows_keep_their_order_though_some_refer_to_others(
    runner: Runner, rows: Any
) -> None:
    with runner.batch(1) as event, event():
        first = rows(Site).add(Site(name="first"))
        rows(Site).add(Site(name="second", parent=first))
        rows(Site).add(Site(name="third"))

    assert names_by_key() == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("made", "reference"),
    [
        (lambda: Region(number=1, code="c"), {"region_id": "c"}),
        (lambda: Owner(name="Ann"), {"owner_id": "Ann"}),
    ],
    ids=["by another field", "to a proxy"],
)
def test_what_is_referred_to_comes_first(
    runner: Runner, rows: Any, made: Any, reference: dict[str, Any]
) -> None:
    with runner.batch(1) as event, event():
        assert rows(Site).get_or_none(1) is None
        parent = made()
        rows(type(parent)).add(parent)
        rows(Site).add(Site(**reference))

    assert Site.objects.filter(**reference).exists()


@pytest.mark.parametrize("name", ["ann", "Änn", "ANN "])
def test_what_is_referred_to_in_other_letters_comes_first(
    runner: Runner, rows: Any, name: str
) -> None:
    if not ignores_case(connection):
        pytest.skip("takes no text for another one")
    with runner.batch(1) as event, event():
        assert rows(Site).get_or_none(1) is None
        rows(Owner).add(Owner(name="Ann"))
        rows(Site).add(Site(owner_id=name))

    assert Site.objects.get().owner_id == name


@pytest.mark.parametrize("is_expression", [True, False])
def test_what_is_referred_to_comes_first_though_others_have_to_be_written(
    *, is_expression: bool
) -> None:
    def look(rows: Any) -> None:
        rows(Permit).get_or_none(0)
        change(rows, 2)

    def change(rows: Any, number: int) -> None:
        # The database has to see each: what the number was, or what it works out.
        if is_expression:
            rows(Gauge).get(1).level = F("level") + 1
        else:
            rows(Chip).get(UUID(int=1)).code = number

    def refer(rows: Any) -> None:
        rows(Permit).get_or_none(0)
        change(rows, 3)
        rows(Keeper).add(Keeper(name="Ann"))
        rows(Permit).add(Permit(pk=1, keeper_id="Ann", number=1))

    def begin() -> None:
        for model in (Keeper, Chip, Specimen, Gauge):
            model.objects.all().delete()
        Chip.objects.create(specimen=Specimen.objects.create(pk=UUID(int=1)), code=1)
        Gauge.objects.create(pk=1)

    found, failed = outcomes(Permit, [look, refer], begin=begin)

    assert not failed
    assert [row[1:3] for row in found] == [("Ann", 1)]
    assert Gauge.objects.get().level == (2 if is_expression else 0)
    assert Chip.objects.get().code == (1 if is_expression else 3)


def test_rows_may_refer_to_each_other_where_the_database_looks_late(
    runner: Runner, rows: Any
) -> None:
    def refer() -> None:
        with runner.batch(1) as event, event():
            first = rows(Site).add(Site(pk=1, parent_id=2))
            rows(Site).add(Site(pk=2, parent_id=first.pk))

    if not checks_references_late(connection):
        with pytest.raises(IntegrityError, match="Rows of Site exchange"):
            refer()
        return
    refer()
    assert list(Site.objects.order_by("pk").values_list("parent", flat=True)) == [2, 1]


def test_a_table_may_have_any_name() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Named(models.Model):
            key = models.IntegerField(primary_key=True, db_column="the key")
            count = models.IntegerField(default=0, db_column="v0")

            class Meta:
                app_label = "rows_app"
                db_table = "new_values"

    def count(rows: Any) -> None:
        for key in (1, 2):
            rows(Named).increment(key, count=1)

    with made_tables(Named):
        assert outcomes(Named, [count, count]) == ([(1, 2), (2, 2)], set())
