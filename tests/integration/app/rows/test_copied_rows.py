"""Very many new rows are copied into PostgreSQL, and come out as if inserted."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import DataError, IntegrityError, ProgrammingError, connection, models
from django.test.utils import CaptureQueriesContext, isolate_apps
from eventsourcing.persistence import Notification, Tracking
from eventsourcing.projection import Projection

from django_esdb.db.copied_rows import FEWEST_ROWS
from django_esdb.db.many_rows import insert_many
from django_esdb.policies import FailurePolicy, OnFailure
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.runner.batches.processor import BatchProcessor
from django_esdb.subscriptions.received import ReceivedEvent
from tests.support.batches import APP, Runner, changes
from tests.support.rows_app.models import Counter, Owner, Specimen

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'"),
]

MANY = FEWEST_ROWS + 20
UTC = datetime.UTC
BEGINNING = datetime.datetime(2026, 1, 1, tzinfo=UTC)
# What is written in another way in a COPY than in a statement, and the edges.
TEXTS = ["", "\\N", "\\.", "a\tb", "a\nb\r", "ü€", "'\"", "\\x41", "NULL"]


def specimen(number: int) -> Specimen:
    return Specimen(
        id=UUID(int=number),
        text=TEXTS[number % len(TEXTS)],
        long_text=None if number % 3 else "x" * 10_000,
        flag=bool(number % 2),
        number=-number,
        small=number % 7 or None,
        big=2**63 - 1 - number,
        ratio=(1e308, -0.1, 5e-324, float("inf"))[number % 4],
        price=Decimal("-1234.56") + number,
        day=datetime.date(1, 1, 1) if number % 2 else None,
        moment=datetime.datetime(2026, 1, 1, 1, 2, 3, 456789, UTC),
        hour=datetime.time(23, 59, 59, 999999),
        length=datetime.timedelta(days=-number, microseconds=1),
        data={"ü\\": [None, 1.5, "\\n", TEXTS[number % len(TEXTS)]]},
        blob=bytes(range(256)),
        address="::1" if number % 2 else "10.0.0.1",
    )


def values(model: type[models.Model]) -> list[tuple[Any, ...]]:
    names = [f.attname for f in model._meta.concrete_fields if not is_time(f)]
    return [
        tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)
        for row in model._default_manager.order_by("pk").values_list(*names)
    ]


def is_time(field: Any) -> bool:
    return getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)


def insertions(statements: CaptureQueriesContext) -> list[str]:
    return [s for s in changes(statements) if s.startswith(("INSERT", "COPY"))]


@contextmanager
def statement(text: str, undone_by: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(text)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(undone_by)


@pytest.fixture
def add_many(runner: Runner) -> Callable[..., list[str]]:
    """Return what adds rows in a batch, and returns the statements that did."""

    def add(
        made: Callable[[int], models.Model], count: int = MANY, events: int = MANY
    ) -> list[str]:
        with (
            CaptureQueriesContext(connection) as statements,
            runner.batch(events) as event,
        ):
            for first in range(events):
                with event():
                    for number in range(first, count, events):
                        row = made(number)
                        runner.view.rows(type(row)).add(row)
        return insertions(statements)

    return add


def owner(number: int) -> Owner:
    return Owner(name=f"owner {number}", visits=number)


def test_each_type_of_value_comes_out_as_inserted() -> None:
    Specimen.objects.bulk_create(map(specimen, range(MANY)))
    inserted = values(Specimen)
    Specimen.objects.all().delete()
    fields = Specimen._meta.concrete_fields
    rows = [
        tuple(
            BEGINNING if is_time(f) else getattr(specimen(n), f.attname) for f in fields
        )
        for n in range(MANY)
    ]
    with CaptureQueriesContext(connection) as statements:
        insert_many(connection, Specimen, fields, rows)
    [copied] = insertions(statements)
    assert copied.startswith('COPY "rows_app_specimen" ("id", "text", ')
    assert values(Specimen) == inserted


def test_few_rows_are_inserted(add_many: Callable[..., list[str]]) -> None:
    [inserted] = add_many(owner, FEWEST_ROWS - 1)
    assert inserted.startswith("INSERT")


def test_arrays_and_identity_columns_are_copied() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Listed(models.Model):
            id = models.AutoField(primary_key=True)
            names = ArrayField(models.TextField(), null=True)
            grid = ArrayField(ArrayField(models.IntegerField()))

            class Meta:
                app_label = "rows_app"

    with connection.schema_editor() as editor:
        editor.create_model(Listed)
    try:
        rows = [
            (n, [*TEXTS, 'a,"b{}', None] if n % 2 else None, [[n, 1], [2, 3]])
            for n in range(MANY)
        ]
        with CaptureQueriesContext(connection) as statements:
            insert_many(connection, Listed, Listed._meta.concrete_fields, rows)
        [copied] = insertions(statements)
        assert copied.startswith("COPY")
        assert values(Listed) == rows
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Listed)


def test_values_of_other_code_are_inserted() -> None:
    class Shouted(models.TextField):
        def get_prep_value(self, value: Any) -> Any:
            return value.upper()

    field = Shouted()
    field.set_attributes_from_name("name")
    visits = Owner._meta.get_field("visits")
    rows = [(f"owner {number}", number) for number in range(MANY)]
    with CaptureQueriesContext(connection) as statements:
        insert_many(connection, Owner, [field, visits], rows)
    [inserted] = insertions(statements)
    assert inserted.startswith("INSERT")
    assert Owner.objects.filter(name="OWNER 7").exists()


@pytest.mark.parametrize(
    ("text", "undone_by"),
    [
        (
            "CREATE RULE counted AS ON INSERT TO rows_app_owner DO ALSO "
            "INSERT INTO rows_app_counter VALUES (NEW.name, 0, 0)",
            "DROP RULE counted ON rows_app_owner",
        ),
        (
            "ALTER TABLE rows_app_owner ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE rows_app_owner DISABLE ROW LEVEL SECURITY",
        ),
        (
            "ALTER TABLE rows_app_owner ALTER COLUMN visits TYPE text",
            "ALTER TABLE rows_app_owner ALTER COLUMN visits TYPE int USING visits::int",
        ),
    ],
    ids=["rule", "row security", "other type"],
)
def test_a_table_that_takes_copies_in_another_way_is_inserted_into(
    add_many: Callable[..., list[str]], text: str, undone_by: str
) -> None:
    # A table is asked about once on a connection.
    connection.close()
    with statement(text, undone_by):
        inserted = add_many(owner, events=1)
        assert all(each.startswith("INSERT") for each in inserted)
        if "RULE" in text:
            assert Counter.objects.count() == MANY
        Owner.objects.all().delete()
        connection.close()
    [copied] = add_many(owner)
    assert copied.startswith("COPY")


def test_a_column_that_the_database_alone_fills_stays_so(
    add_many: Callable[..., list[str]],
) -> None:
    connection.close()
    alter = "ALTER TABLE rows_app_owner ALTER COLUMN visits"
    with (
        statement(
            f"{alter} ADD GENERATED ALWAYS AS IDENTITY", f"{alter} DROP IDENTITY"
        ),
        pytest.raises(ProgrammingError, match="visits"),
    ):
        add_many(owner)
    connection.close()


def test_execute_wrappers_are_told(add_many: Callable[..., list[str]]) -> None:
    told = []

    def wrapper(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        told.append(sql)
        assert context["connection"].alias == "default"
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        add_many(owner)
    assert 'COPY "rows_app_owner" ("name", "visits") FROM STDIN' in told


def test_rows_with_triggers_are_not_copied(add_many: Callable[..., list[str]]) -> None:
    with statement(
        "CREATE FUNCTION doubled() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN NEW.visits := 2 * NEW.visits; RETURN NEW; END';"
        "CREATE TRIGGER doubling BEFORE INSERT ON rows_app_owner "
        "FOR EACH ROW EXECUTE FUNCTION doubled()",
        "DROP TRIGGER doubling ON rows_app_owner; DROP FUNCTION doubled",
    ):
        # They are saved one by one, as a trigger may be for statements.
        connection.close()
        inserted = add_many(owner, events=1)
    assert len(inserted) == MANY
    assert all(text.startswith("INSERT") for text in inserted)
    assert Owner.objects.get(name="owner 7").visits == 14


def test_errors_are_those_of_an_insertion(add_many: Callable[..., list[str]]) -> None:
    Owner.objects.create(name="owner 7")
    with pytest.raises(IntegrityError):
        add_many(owner)
    assert Owner.objects.count() == 1
    rows = [(f"owner\x00 {number}", number) for number in range(MANY)]
    with pytest.raises((ValueError, DataError)):
        insert_many(connection, Owner, Owner._meta.concrete_fields, rows)
    assert Owner.objects.count() == 1


class View(DjangoTrackingRecorder):
    def add(self, name: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            self.rows(Owner).add(Owner(name=name))


class Adding(Projection[View]):
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.add(domain_event, tracking)


def test_the_event_that_fails_is_found_among_copied_ones() -> None:
    Owner.objects.create(name="7")
    failed = []

    class Skipping(FailurePolicy):
        def failed(self, position: int) -> OnFailure | None:
            failed.append(position)
            return super().failed(position)

    view = View("projection")
    policy = Skipping(OnFailure.SKIP, 0)
    events = [
        ReceivedEvent(
            Tracking(APP, number),
            Notification(UUID(int=number), 0, "topic", b"", number),
            str(number),
            None,
        )
        for number in range(1, 4 * MANY)
    ]
    with CaptureQueriesContext(connection) as statements:
        BatchProcessor(Adding(view), view, APP, policy=policy).process(events)
    assert any(each.startswith("COPY") for each in insertions(statements))
    assert failed == [7]
    assert Owner.objects.count() == 4 * MANY - 1
