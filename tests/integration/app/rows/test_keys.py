"""Keys find the rows that a query with them finds, in whatever form they are."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.core.exceptions import ValidationError
from django.db import NotSupportedError, connection, models
from django.test.utils import isolate_apps

from tests.support.batches import Runner
from tests.support.made_events import made_tables, outcomes, processed
from tests.support.rows_app.models import Gauge, Keeper, Permit, Specimen

pytestmark = pytest.mark.django_db(transaction=True)


def model_keyed_by(key: models.Field[Any, Any], other: models.Field[Any, Any]) -> Any:
    with isolate_apps("tests.support.rows_app"):

        class Keyed(models.Model):
            code = key
            also = other
            count = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"

    return Keyed


@pytest.mark.parametrize(
    "form", [bytes, bytearray, memoryview, lambda key: memoryview(bytearray(key))]
)
def test_binary_keys_are_found_in_each_form(form: Callable[[bytes], Any]) -> None:
    if connection.vendor == "mysql":
        pytest.skip("has no such keys")
    keyed = model_keyed_by(
        models.BinaryField(primary_key=True), models.BinaryField(unique=True)
    )

    def add(rows: Any) -> None:
        rows(keyed).add(keyed(code=form(b"ab"), also=form(b"cd")))

    def count(rows: Any) -> None:
        rows(keyed).get(form(b"ab")).count += 1
        rows(keyed, "also").get(form(b"cd")).count += 1
        rows(keyed).increment(form(b"ab"), count=1)
        rows(keyed).get_or_create(form(b"ef"), {"also": form(b"gh")})

    def count_all(rows: Any) -> None:
        for each in rows(keyed).filter(pk__in=[form(b"ab"), form(b"ef")]):
            each.count += 1

    with made_tables(keyed):
        found, failed = outcomes(keyed, [add, count, count, count_all])
    assert not failed
    assert [(bytes(code), count) for code, _, count in found] == [
        (b"ab", 7),
        (b"ef", 1),
    ]


def test_decimal_keys_find_what_a_query_finds() -> None:
    keyed = model_keyed_by(
        models.DecimalField(primary_key=True, max_digits=5, decimal_places=2),
        models.DecimalField(unique=True, max_digits=5, decimal_places=2),
    )
    differing = []

    def compare(rows: Any) -> None:
        for key in ("1.004", "1.005", "1.015", "1.010", "2", "2.1", Decimal("1.0149")):
            by_key = keyed.objects.filter(pk=key).first()
            also = keyed.objects.filter(also=key).first()
            if (
                rows(keyed).get_or_none(key) != by_key
                or rows(keyed, "also").get_or_none(key) != also
                or rows(keyed).filter(pk__in=[key]) != ([by_key] if by_key else [])
            ):
                differing.append(key)

    def add(rows: Any) -> None:
        # Stored as 1.01 and 1.02, or as this version of Django rounds.
        keyed.objects.create(code=Decimal("1.006"), also=Decimal("1.016"))
        rows(keyed).add(keyed(code="2", also="3"))

    with made_tables(keyed):
        assert not processed([compare, add, compare, compare], [2])
    assert not differing


@pytest.mark.parametrize("number", ["1.004", "1.0051", "12345.67", "1.0"])
def test_a_new_decimal_key_is_the_one_that_is_read_or_refused(number: str) -> None:
    keyed = model_keyed_by(
        models.DecimalField(primary_key=True, max_digits=6, decimal_places=2),
        models.IntegerField(null=True),
    )

    def add(rows: Any) -> None:
        rows(keyed).add(keyed(code=Decimal(number)))

    def make(rows: Any) -> None:
        rows(keyed).get_or_create(Decimal(number), {"count": 1})

    def count(rows: Any) -> None:
        row = rows(keyed).get_or_none(Decimal(number))
        if row is not None:
            row.count += 1

    with made_tables(keyed):
        found, failed = outcomes(keyed, [add, count, make, count])
        read = [key for key, *_ in found]
        refusals = processed([add]).values() if connection.vendor == "sqlite" else ()
    if number == "1.0":
        assert read == [Decimal(1)]
        assert not failed
    elif refusals and not read:
        assert failed == {1, 3}
        assert all("is not read as it is stored" in str(each) for each in refusals)
    else:
        # Servers round numbers, or refuse them; and so do some versions of Django.
        assert all(key == round(key, 2) for key in read)


def test_keys_that_can_be_changed_are_refused(runner: Runner, rows: Any) -> None:
    by_json = model_keyed_by(
        models.JSONField(primary_key=True), models.IntegerField(null=True)
    )
    also = model_keyed_by(
        models.IntegerField(primary_key=True), models.JSONField(unique=True)
    )
    with runner.batch(1) as event, event():
        with pytest.raises(NotSupportedError, match="primary key is a JSONField"):
            rows(by_json)
        with pytest.raises(NotSupportedError, match="by values of a JSONField"):
            rows(also, key="also")


@pytest.mark.parametrize(
    ("model", "error"), [(Gauge, ValueError), (Specimen, ValidationError)]
)
def test_what_is_no_key_is_refused_as_a_query_refuses_it(
    runner: Runner, rows: Any, model: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="none"):
        model.objects.filter(pk="none").exists()
    with runner.batch(1) as event, event():
        for ask in (rows(model).get, rows(model).delete, rows(model).increment):
            with pytest.raises(error, match="none"):
                ask("none")


@pytest.mark.parametrize("sought", ["Absent", "Bob"])
def test_a_new_row_waits_for_what_the_event_changes_though_a_key_is_looked_for(
    sought: str,
) -> None:
    def look(rows: Any) -> None:
        rows(Keeper).get_or_none("Absent")
        rows(Keeper).get("Bob").rank += 1

    def hand_on(rows: Any) -> None:
        rows(Keeper).add(Keeper(name="Cy", badge="b"))
        rows(Keeper).get_or_none(sought)
        rows(Keeper).get("Bob").badge = "c"

    def refer(rows: Any) -> None:
        # The reference is written when the keys are looked for, so the row has to be.
        keeper = rows(Keeper).add(Keeper(name="Dan", badge="d"))
        rows(Permit).add(Permit(keeper=keeper, number=1))
        assert rows(Permit, key="specimen").get_or_none(UUID(int=1)) is None
        rows(Keeper).get_or_none("No one")

    def begin() -> None:
        Permit.objects.all().delete()
        Keeper.objects.create(name="Bob", badge="b")

    found, failed = outcomes(Keeper, [look, hand_on, look, refer], begin=begin)

    assert not failed
    assert [row[:2] for row in found] == [("Bob", "c"), ("Cy", "b"), ("Dan", "d")]
