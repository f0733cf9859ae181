"""What triggers of the database make of rows is seen by the next event of a batch."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, models
from django.test.utils import CaptureQueriesContext, isolate_apps

from tests.support.made_events import made_tables, outcomes, processed
from tests.support.rows_app.models import Counter, Owner

BEGINNING = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
pytestmark = pytest.mark.django_db(transaction=True)

_COUNT = "UPDATE rows_app_owner SET visits = visits + 1"
_MADE: dict[str, list[str]] = {
    "sqlite": [
        "CREATE TRIGGER totals_i AFTER INSERT ON rows_app_counter BEGIN UPDATE "
        "rows_app_counter SET total = NEW.count * 2 WHERE name = NEW.name; END",
        "CREATE TRIGGER totals_u AFTER UPDATE OF count ON rows_app_counter BEGIN "
        "UPDATE rows_app_counter SET total = NEW.count * 2 WHERE name = NEW.name; END",
        f"CREATE TRIGGER totals_d AFTER DELETE ON rows_app_counter BEGIN {_COUNT}; END",
    ],
    "mysql": [
        "CREATE TRIGGER totals_i BEFORE INSERT ON rows_app_counter FOR EACH ROW "
        "SET NEW.total = NEW.count * 2",
        "CREATE TRIGGER totals_u BEFORE UPDATE ON rows_app_counter FOR EACH ROW "
        "SET NEW.total = NEW.count * 2",
        "CREATE TRIGGER totals_d AFTER DELETE ON rows_app_counter FOR EACH ROW "
        f"{_COUNT}",
    ],
    "postgresql": [
        "CREATE FUNCTION totals() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW.total = NEW.count * 2; RETURN NEW; END $$",
        "CREATE FUNCTION visited() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"{_COUNT}; RETURN OLD; END $$",
        "CREATE TRIGGER totals_i BEFORE INSERT OR UPDATE ON rows_app_counter "
        "FOR EACH ROW EXECUTE FUNCTION totals()",
        "CREATE TRIGGER totals_d AFTER DELETE ON rows_app_counter "
        "FOR EACH ROW EXECUTE FUNCTION visited()",
    ],
}
_UNMADE: dict[str, list[str]] = {
    "postgresql": ["DROP FUNCTION totals CASCADE", "DROP FUNCTION visited CASCADE"],
}
_DROPPED = [f"DROP TRIGGER totals_{each}" for each in "iud"]


def execute(statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def _triggers() -> Iterator[None]:
    execute(_MADE[connection.vendor])
    yield
    execute(_UNMADE.get(connection.vendor, _DROPPED))


def begin() -> None:
    Owner.objects.all().delete()
    Owner.objects.create(name="Ann")


def add(rows: Any) -> None:
    rows(Owner).get("Ann")
    rows(Counter).add(Counter(name="a", count=3))


def count_on(rows: Any) -> None:
    counter = rows(Counter).get("a")
    counter.count = counter.total + 1


def delete(rows: Any) -> None:
    rows(Counter).delete("a")


def note_visits(rows: Any) -> None:
    owner = rows(Owner).get("Ann")
    rows(Counter).add(Counter(name="visits", count=owner.visits))


@pytest.mark.usefixtures("_triggers")
def test_the_next_event_sees_what_triggers_have_made() -> None:
    found, failed = outcomes(Counter, [add, count_on, count_on], begin=begin)
    assert (found, failed) == ([("a", 15, 30)], set())

    events = [add, delete, note_visits]
    found, failed = outcomes(Counter, events, begin=begin)
    assert (found, failed) == ([("visits", 1, 2)], set())


@pytest.mark.usefixtures("_triggers")
def test_a_statement_sees_what_triggers_have_made_in_its_event() -> None:
    def event(rows: Any) -> None:
        rows(Counter).add(Counter(name="a", count=3))
        assert Counter.objects.get().total == 6
        rows(Owner).get("Ann").visits = rows(Counter).get("a").total

    begin()
    assert not processed([event])
    assert Owner.objects.get().visits == 6


def test_whether_there_are_triggers_is_asked_once_in_a_batch() -> None:
    def count(rows: Any) -> None:
        rows(Counter).increment("a", count=1)

    # Nothing is known on a new connection.
    connection.close()
    asked = []
    for events in ([count], [count], [count] * 20):
        with CaptureQueriesContext(connection) as statements:
            assert not processed(events)
        asked.append(sum("trigger" in q["sql"] for q in statements.captured_queries))

    assert asked == [1, 0, 1]


_NOTE = "UPDATE rows_app_counter SET {0} = {0} + 1 WHERE name = 'noted'"
_NOTING: dict[str, list[str]] = {
    "sqlite": [
        "CREATE TRIGGER noting AFTER UPDATE OF visits ON rows_app_owner BEGIN "
        f"{_NOTE.format('count')}; END",
    ],
    "mysql": [
        "CREATE TRIGGER noting AFTER UPDATE ON rows_app_owner FOR EACH ROW "
        f"{_NOTE.format('count')}",
    ],
    "postgresql": [
        "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"{_NOTE.format('count')}; RETURN NULL; END $$",
        "CREATE TRIGGER noting AFTER UPDATE OF visits ON rows_app_owner "
        "FOR EACH STATEMENT EXECUTE FUNCTION noted()",
    ],
}
_NOT_NOTING = {"postgresql": ["DROP FUNCTION noted CASCADE"]}


def test_triggers_see_each_row_saved_with_all_of_its_columns() -> None:
    """They may be for columns, or for statements."""

    def begin() -> None:
        Owner.objects.all().delete()
        Counter.objects.create(name="noted")
        for name in ("Ann", "Bob"):
            Owner.objects.create(name=name)

    def visit(rows: Any) -> None:
        for name in ("Ann", "Bob"):
            rows(Owner).get(name).visits += 1

    execute(_NOTING[connection.vendor])
    try:
        found, failed = outcomes(Counter, [visit, visit], begin=begin)
    finally:
        execute(_NOT_NOTING.get(connection.vendor, ["DROP TRIGGER noting"]))

    assert (found, failed) == ([("noted", 4, 0)], set())


def test_columns_that_are_updated_further_are_as_each_save_leaves_them() -> None:
    if connection.vendor != "mysql":
        pytest.skip("only MySQL and MariaDB have ON UPDATE")
    with isolate_apps("tests.support.rows_app"):

        class Stamped(models.Model):
            id = models.IntegerField(primary_key=True)
            count = models.IntegerField(default=0)
            at = models.DateTimeField(default=BEGINNING)

            class Meta:
                app_label = "rows_app"

    def count(rows: Any) -> None:
        rows(Stamped).increment(1, count=1)

    with made_tables(Stamped):
        execute(
            [
                "ALTER TABLE rows_app_stamped MODIFY at datetime(6) NOT NULL "
                "DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"
            ]
        )
        connection.close()
        found, failed = outcomes(Stamped, [count, count])

    assert (found, failed) == ([(1, 2, BEGINNING)], set())
