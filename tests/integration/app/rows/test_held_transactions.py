"""Nothing that a handler executes parts rows from the position."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, NotSupportedError, connection, transaction
from django.db.transaction import TransactionManagementError

from django_esdb.db.effects import ending
from tests.support.made_events import processed
from tests.support.rows_app.models import Counter

pytestmark = pytest.mark.django_db(transaction=True)


def add(name: str) -> Any:
    return lambda rows: rows(Counter).add(Counter(name=name))


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def names() -> list[str]:
    return sorted(Counter.objects.values_list("name", flat=True))


def added_and(name: str, *statements: str) -> Any:
    def event(rows: Any) -> None:
        rows(Counter).add(Counter(name=name))
        execute(*statements)

    return event


@pytest.mark.parametrize("sizes", [[], [1, 1, 1], [2]])
@pytest.mark.parametrize("words", ["COMMIT", "rollback;", "/* now */ COMMIT AND CHAIN"])
def test_a_statement_that_ends_the_transaction_is_refused(
    words: str, sizes: list[int]
) -> None:
    failed = processed([add("a"), added_and("b", words), add("c")], sizes)

    assert names() == ["a", "c"]
    assert [*failed] == [2]
    assert isinstance(failed[2], NotSupportedError)
    assert "use transaction.atomic() for savepoints" in str(failed[2])


@pytest.mark.parametrize("sizes", [[], [1, 1, 1]])
@pytest.mark.parametrize(
    "statement", ["CREATE TABLE made (id int)", "TRUNCATE rows_app_counter"]
)
def test_a_statement_that_commits_is_refused(statement: str, sizes: list[int]) -> None:
    if connection.vendor != "mysql":
        pytest.skip("commits by COMMIT alone")
    failed = processed([add("a"), added_and("b", statement), add("c")], sizes)

    assert names() == ["a", "c"]
    assert [*failed] == [2]
    assert isinstance(failed[2], NotSupportedError)


def _commit() -> None:
    connection.connection.commit()


def _rollback() -> None:
    connection.connection.rollback()


def _leave() -> None:
    with connection.connection:
        pass


def _begin() -> None:
    if connection.vendor == "mysql":
        connection.connection.begin()
    elif connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.executescript("SELECT 1")
    else:
        with connection.cursor() as cursor:
            cursor.connection.commit()


def _commit_from_now_on() -> None:
    if connection.vendor == "mysql":
        connection.connection.autocommit(True)
    elif connection.vendor == "sqlite":
        connection.connection.isolation_level = None
    else:
        connection.connection.autocommit = True


@pytest.mark.parametrize("sizes", [[], [1, 1, 1], [2]])
@pytest.mark.parametrize("uses_rows", [True, False])
@pytest.mark.parametrize(
    "end", [_commit, _rollback, _leave, _begin, _commit_from_now_on]
)
def test_a_method_of_the_driver_that_ends_the_transaction_is_refused(
    end: Any, uses_rows: bool, sizes: list[int]
) -> None:
    if end is _leave and connection.vendor == "mysql":
        pytest.skip("its connection is closed, which is no end like these")

    def added(name: str) -> Any:
        return add(name) if uses_rows else lambda rows: create(name)

    def create(name: str) -> None:
        Counter.objects.create(name=name)

    def event(rows: Any) -> None:
        added("b")(rows)
        end()
        added("d")(rows)

    connection.ensure_connection()
    raw = connection.connection
    failed = processed([added("a"), event, added("c")], sizes)

    assert connection.connection is raw
    assert names() == ["a", "c"]
    assert [*failed] == [2]
    if not (end is _commit_from_now_on and connection.vendor == "postgresql"):
        assert isinstance(failed[2], NotSupportedError)
        assert "use transaction.atomic() for savepoints" in str(failed[2])


@pytest.mark.parametrize("sizes", [[], [1, 1, 1], [2]])
@pytest.mark.parametrize("uses_rows", [True, False])
def test_a_transaction_that_was_ended_past_django_is_noticed(
    uses_rows: bool, sizes: list[int]
) -> None:
    if connection.vendor == "mysql":
        pytest.skip("its driver does not tell")

    def event(rows: Any) -> None:
        if uses_rows:
            rows(Counter).get("a").count += 1
        driver = connection.connection
        driver.cursor().execute("ROLLBACK")

    failed = processed([add("a"), event, add("c")], sizes)

    assert names() == ["a", "c"]
    assert [*failed] == [2]
    assert isinstance(failed[2], NotSupportedError)
    assert "was ended through the driver's own" in str(failed[2])


def test_methods_of_the_driver_are_as_before_when_the_events_are_processed() -> None:
    called: list[str] = []

    def event(rows: Any) -> None:
        rows(Counter).add(Counter(name="a"))
        transaction.on_commit(lambda: called.append(names()[0]))

    assert not processed([event])
    assert called == ["a"]
    connection.set_autocommit(False)
    try:
        Counter.objects.create(name="b")
        connection.connection.rollback()
    finally:
        connection.set_autocommit(True)
    assert names() == ["a"]


@pytest.mark.parametrize("sizes", [[], [1, 1, 1]])
def test_texts_and_savepoints_end_nothing(sizes: list[int]) -> None:
    def event(rows: Any) -> None:
        with transaction.atomic():
            rows(Counter).add(Counter(name="undone"))
            execute("SELECT 1")
            transaction.set_rollback(True)
        execute("SELECT '; COMMIT; it''s'", "SELECT 1 -- ; COMMIT")

    assert not processed([add("a"), event, add("c")], sizes)
    assert names() == ["a", "c"]


def test_a_body_of_a_function_ends_nothing() -> None:
    if connection.vendor == "mysql":
        pytest.skip("commits before it makes functions")
    made = "CREATE TRIGGER a AFTER DELETE ON b BEGIN DELETE FROM c; END"
    assert not ending(made, connection)
    assert not ending("DO $x$ BEGIN PERFORM 1; END; $x$", connection)
    assert ending("SELECT 1; COMMIT", connection) == "COMMIT"


@pytest.mark.parametrize("sizes", [[], [1, 1, 1], [2]])
def test_an_error_that_fails_the_transaction_is_the_events_though_it_is_caught(
    sizes: list[int],
) -> None:
    def event(rows: Any) -> None:
        rows(Counter).add(Counter(name="b"))
        with pytest.raises(DatabaseError):
            execute("SELECT 1 FROM nowhere")

    failed = processed([add("a"), event, add("c")], sizes)

    if connection.vendor == "postgresql":
        assert names() == ["a", "c"]
        assert isinstance(failed[2], TransactionManagementError)
        assert "nowhere" in str(failed[2].__cause__)
    else:
        assert names() == ["a", "b", "c"]
        assert not failed


@pytest.mark.parametrize("sizes", [[], [1, 1, 1]])
def test_an_error_within_a_savepoint_may_be_caught(sizes: list[int]) -> None:
    def event(rows: Any) -> None:
        rows(Counter).add(Counter(name="b"))
        with pytest.raises(DatabaseError), transaction.atomic():
            execute("SELECT 1 FROM nowhere")

    assert not processed([add("a"), event, add("c")], sizes)
    assert names() == ["a", "b", "c"]


@pytest.mark.parametrize("sizes", [[], [1, 1, 1]])
def test_a_transaction_that_the_database_has_undone_goes_on_with_nothing(
    sizes: list[int],
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("undoes no transaction by itself")
    execute(
        "CREATE TRIGGER undoing BEFORE INSERT ON rows_app_counter "
        "WHEN NEW.name = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'undone'); END"
    )

    def event(rows: Any) -> None:
        with pytest.raises(DatabaseError, match="undone"):
            execute("INSERT INTO rows_app_counter VALUES ('bad', 0, 0)")
        execute("INSERT INTO rows_app_counter VALUES ('b', 0, 0)")

    try:
        failed = processed([add("a"), event, add("c")], sizes)
    finally:
        execute("DROP TRIGGER undoing")
    assert names() == ["a", "c"]
    assert isinstance(failed[2], TransactionManagementError)


@pytest.mark.parametrize(
    "statement", ["SELECT 1; UPDATE rows_app_counter SET count = 7", "EXPLAIN ANALYZE "]
)
def test_a_write_is_noticed_behind_what_only_reads(statement: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("executes one statement at a time, and explains without executing")
    if statement.startswith("EXPLAIN"):
        statement += "UPDATE rows_app_counter SET count = 7"

    def count(rows: Any) -> None:
        rows(Counter).increment("a", count=1)

    assert not processed([count, lambda rows: execute(statement), count])
    assert Counter.objects.get().count == 8
