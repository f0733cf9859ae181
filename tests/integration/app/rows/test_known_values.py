"""What only the database knows of values is known in time, whatever the batch."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, models
from django.db.models import F, Q, Value
from django.db.models.functions import Lower
from django.test.utils import isolate_apps

from tests.support.batches import Runner
from tests.support.made_events import made_tables, outcomes, processed
from tests.support.rows_app.models import Gauge, Keeper, Specimen

pytestmark = pytest.mark.django_db(transaction=True)


def set_badge(badge: str) -> Any:
    return lambda rows: Keeper.objects.filter(pk="Ann").update(badge=badge)


def note_holder(badge: str) -> Any:
    def note(rows: Any) -> None:
        holder = rows(Keeper, key="badge").get_or_none(badge)
        rows(Keeper).get("Bob").notes += f" {badge} {holder and holder.badge}"

    return note


def begin() -> None:
    Keeper.objects.create(name="Ann", badge="a")
    Keeper.objects.create(name="Bob", notes="")


@pytest.mark.parametrize("sizes", [[1, 1], []])
@pytest.mark.parametrize("kind", [list, dict])
def test_json_that_lies_deep_is_refused_where_the_database_does(
    kind: type, sizes: list[int]
) -> None:
    deep: Any = kind()
    for _ in range(40):
        deep = [deep] if kind is list else {"a": deep}

    def set_data(value: Any) -> Any:
        def set_data(rows: Any) -> None:
            specimen = rows(Specimen).get(UUID(int=1))
            specimen.data, specimen.number = value, specimen.number + 1

        return set_data

    events = [set_data(deep), set_data([])]
    Specimen.objects.create(id=UUID(int=1))
    failed = processed(events, sizes)

    is_refused = connection.vendor == "mysql"
    assert set(failed) == ({1} if is_refused else set())
    assert Specimen.objects.get().number == (2 if is_refused else 3)


def test_a_value_that_others_have_changed_finds_no_row() -> None:
    events = [note_holder("a"), set_badge("b"), note_holder("a"), note_holder("b")]
    rows, failed = outcomes(Keeper, events, begin=begin)

    assert rows[1][-1] == " a a a None b b"
    assert not failed


def test_a_value_that_the_database_works_out_is_looked_for_there() -> None:
    def work_out(rows: Any) -> None:
        rows(Keeper).get("Ann").badge = Lower(Value("B"))

    events = [note_holder("a"), note_holder("b"), work_out, note_holder("b")]
    rows, _ = outcomes(Keeper, [*events, note_holder("a")], begin=begin)

    assert rows[1][-1] == " a a b None b b a None"


def test_numbers_that_no_column_has_find_nothing(runner: Runner, rows: Any) -> None:
    Gauge.objects.create(id=1)
    with runner.batch(1) as event, event():
        assert rows(Gauge).get_or_none(2**70) is None
        assert rows(Gauge).get_or_none(-(2**40)) is None
        assert not rows(Gauge).delete(2**63)
        assert [g.pk for g in rows(Gauge).filter(pk__in=[2**64, 1])] == [1]


def collation() -> str:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE COLLATION IF NOT EXISTS any_case (provider = icu, "
                "locale = 'und-u-ks-level2', deterministic = false)"
            )
        return "any_case"
    return "nocase" if connection.vendor == "sqlite" else "utf8mb4_general_ci"


def generated() -> dict[str, Any]:
    return {
        "width": models.IntegerField(default=1),
        "double": models.GeneratedField(
            expression=F("width") * 2,
            output_field=models.IntegerField(),
            db_persist=True,
            unique=True,
        ),
    }


def by_default() -> dict[str, Any]:
    return {"code": models.CharField(max_length=10, unique=True, db_default="x")}


def collated() -> dict[str, Any]:
    field = models.CharField(max_length=10, unique=True, db_collation=collation())
    return {"code": field}


@pytest.mark.parametrize(
    ("fields", "first", "second"),
    [
        (generated, {"width": 5}, {"width": 5}),
        (by_default, {"code": "x"}, {}),
        (collated, {"code": "a"}, {"code": "A"}),
    ],
)
def test_a_unique_value_that_is_taken_is_refused_though_it_is_free_later(
    fields: Any, first: dict[str, Any], second: dict[str, Any]
) -> None:
    with isolate_apps("tests.support.rows_app"):
        meta = type("Meta", (), {"app_label": "rows_app"})
        key = models.IntegerField(primary_key=True)
        attributes = {"id": key, **fields(), "Meta": meta, "__module__": __name__}
        made: Any = type("Made", (models.Model,), attributes)
    with made_tables(made):
        events = [
            lambda rows: rows(made).get(1),
            lambda rows: rows(made).add(made(id=2, **second)),
            lambda rows: rows(made).delete(1),
        ]
        rows, failed = outcomes(
            made, events, begin=lambda: made.objects.create(id=1, **first)
        )

    assert not rows
    assert failed == {2}


def test_a_rule_about_what_the_database_works_out_is_looked_at_at_once() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Ruled(models.Model):
            id = models.IntegerField(primary_key=True)
            width = models.IntegerField(default=1)
            double = models.GeneratedField(
                expression=F("width") * 2,
                output_field=models.IntegerField(),
                db_persist=True,
            )

            class Meta:
                app_label = "rows_app"
                constraints = (
                    models.CheckConstraint(
                        condition=Q(double__lt=100), name="ruled_double"
                    ),
                )

    def widen(rows: Any) -> None:
        rows(Ruled).get(1).width = 60

    with made_tables(Ruled):
        events = [widen, lambda rows: Ruled.objects.all().delete()]
        rows, failed = outcomes(Ruled, events, begin=lambda: Ruled.objects.create(id=1))

    assert not rows
    assert failed == {1}


def test_what_is_stored_and_read_otherwise_is_stored_as_each_save_does() -> None:
    """Compared is what the database has, whatever Django makes of it."""
    with isolate_apps("tests.support.rows_app"):

        class Stored(models.Model):
            id = models.IntegerField(primary_key=True)
            count = models.IntegerField(default=0)
            price = models.DecimalField(max_digits=6, decimal_places=2, default=0)
            data = models.JSONField(null=True)

            class Meta:
                app_label = "rows_app"

    def get(rows: Any) -> Any:
        return rows(Stored).get(1) if rows else Stored.objects.get(pk=1)

    def begin(rows: Any) -> Any:
        null = Value(None, models.JSONField())
        new = Stored(id=1, price=Decimal("1.005"), data=null)
        return rows(Stored).add(new) if rows else new

    def change(name: str, value: Any) -> Any:
        def event(rows: Any) -> Any:
            found = get(rows)
            setattr(found, name, value)
            return found

        return event

    def stored() -> Any:
        with connection.cursor() as cursor:
            columns = "count, price, price * 100, data IS NULL"
            cursor.execute(f"SELECT {columns} FROM rows_app_stored")
            return cursor.fetchone()

    prices = (Decimal("2.345"), Decimal("-0.125"), 0.145, Decimal("7.10"))
    walks = [
        [begin],
        [begin, change("count", 1)],
        *([begin, change("price", price)] for price in prices),
        [begin, *(change("price", price) for price in prices), change("count", 1)],
    ]
    with made_tables(Stored):
        for events in walks:
            Stored.objects.all().delete()
            for event in events:
                event(None).save()
            expected = stored()
            for sizes in ([1] * len(events), []):
                Stored.objects.all().delete()
                assert not processed(events, sizes)
                assert stored() == expected


def test_hours_that_do_not_exist_or_come_twice_are_seen_as_they_are_kept(
    settings: Any,
) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Berlin"
    with isolate_apps("tests.support.rows_app"):

        class Timed(models.Model):
            id = models.IntegerField(primary_key=True)
            moment = models.DateTimeField(null=True)
            seen = models.TextField(default="")

            class Meta:
                app_label = "rows_app"

    def events(get: Any, save: Any) -> Any:
        def assign(moment: datetime.datetime) -> Any:
            def event(rows: Any) -> None:
                timed = get(rows)
                timed.moment = moment
                save(timed)

            return event

        def note(rows: Any) -> None:
            timed = get(rows)
            timed.seen += f"{timed.moment!r} "
            save(timed)

        second = datetime.datetime(2026, 10, 25, 2, 30, fold=1)
        missing = datetime.datetime(2026, 3, 29, 2, 30)
        for moment in (missing, second.replace(fold=0), second, second):
            yield from (assign(moment), note)

    def begin() -> None:
        Timed.objects.create(id=1)

    with made_tables(Timed):
        begin()
        for event in events(lambda rows: Timed.objects.get(), lambda row: row.save()):
            event(None)
        expected = list(Timed.objects.values_list())
        walk = list(events(lambda rows: rows(Timed).get(1), lambda row: None))
        assert outcomes(Timed, walk, begin=begin) == (expected, set())


@pytest.mark.parametrize("kind", [memoryview, bytearray, bytes])
def test_the_same_bytes_in_another_form_are_no_change(kind: Any) -> None:
    before = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    def begin() -> None:
        Specimen.objects.create(id=UUID(int=1), blob=b"\0\xff")
        Specimen.objects.update(changed=before, created=before)

    def assign(rows: Any) -> None:
        row = rows(Specimen).get(UUID(int=1))
        row.blob = kind(b"\0\xff")

    outcomes(Specimen, [assign, assign], begin=begin)
    specimen = Specimen.objects.get()
    assert (specimen.changed, bytes(specimen.blob)) == (before, b"\0\xff")


with isolate_apps("tests.support.rows_app"):

    class Measured(models.Model):
        id = models.IntegerField(primary_key=True)
        ratio = models.FloatField(default=0.0)
        length = models.DurationField(null=True)
        is_right = models.BooleanField(null=True)
        seen = models.TextField(default="")

        class Meta:
            app_label = "rows_app"


def assigned(name: str, value: Any) -> tuple[list[tuple[Any, ...]], set[int]]:
    """Assign a value, note what the next event sees, and do so again."""

    def assign(rows: Any) -> None:
        setattr(rows(Measured).get_or_create(1)[0], name, value)

    def note(rows: Any) -> None:
        measured = rows(Measured).get_or_create(1)[0]
        measured.seen += f"{getattr(measured, name)!r} "

    with made_tables(Measured):
        return outcomes(Measured, [note, assign, note, assign, note])


def test_a_negative_zero_is_another_value() -> None:
    with made_tables(Measured):
        Measured.objects.create(id=1, ratio=-0.0)
        # Not every database has one.
        stored = Measured.objects.get().ratio
    rows, failed = assigned("ratio", -0.0)

    assert repr(rows[0][1]) == repr(stored)
    assert rows[0][-1] == f"0.0 {stored!r} {stored!r} "
    assert not failed


def test_what_a_field_takes_for_nothing_is_none_in_the_next_event() -> None:
    rows, failed = assigned("is_right", "")

    assert rows == [(1, 0.0, None, None, "None None None ")]
    assert not failed


@pytest.mark.skipif(
    connection.vendor == "postgresql", reason="takes a text for a duration"
)
def test_a_text_is_no_duration_where_a_save_does_not_take_it() -> None:
    rows, failed = assigned("length", "1 00:00:01")

    assert rows == [(1, 0.0, None, None, "None None None ")]
    assert failed == {2, 4}


def test_a_key_in_another_form_is_in_the_fields_own_in_the_next_event() -> None:
    def assign_key(rows: Any) -> None:
        gauge = rows(Gauge).get(1)
        gauge.pk = "1"
        gauge.level += 1

    def note(rows: Any) -> None:
        rows(Gauge).get(1).width = 7 if rows(Gauge).get(1).pk == 1 else 8

    rows, failed = outcomes(
        Gauge, [assign_key, note], begin=lambda: Gauge.objects.create(id=1)
    )

    assert rows[0][:3] == (1, 1, 7)
    assert not failed
