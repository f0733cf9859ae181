"""Which rows a statement is about, by its text alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from django_esdb.db.effects import Schema, ending, is_query
from django_esdb.debugging.statements import Rows, Wanted, rows_of

SQLITE, MARIADB = SimpleNamespace(vendor="sqlite"), SimpleNamespace(vendor="mysql")


def found(text: str, *params: Any) -> Rows | None:
    return rows_of(text, params, "dog", ("id",))


@pytest.mark.parametrize(
    ("text", "params", "sources", "condition", "of_condition"),
    [
        ('UPDATE "dog" SET "a" = %s WHERE "id" = %s', (1, 2), "", '"id" = %s', (2,)),
        ("UPDATE dog SET a = 1", (), "", "", ()),
        ("DELETE FROM `dog` WHERE a IN (%s, %s)", (1, 2), "", "a IN (%s, %s)", (1, 2)),
        (
            "UPDATE dog SET a = (SELECT x FROM cat WHERE y = %s) WHERE b = %s",
            (1, 2),
            "",
            "b = %s",
            (2,),
        ),
        (
            "UPDATE dog SET a = v.a FROM (VALUES (%s, %s)) AS v (pk, a) "
            "WHERE dog.id = v.pk RETURNING dog.id",
            (1, 2),
            "(VALUES (%s, %s)) AS v (pk, a)",
            "dog.id = v.pk",
            (1, 2),
        ),
        (
            "DELETE FROM dog USING cat WHERE cat.dog = dog.id AND cat.a = %s",
            (1,),
            "cat",
            "cat.dog = dog.id AND cat.a = %s",
            (1,),
        ),
        ("UPDATE dog SET a = 'WHERE %%' WHERE b = %s", (1,), "", "b = %s", (1,)),
    ],
)
def test_conditions_and_their_parameters_are_found(
    text: str, params: Any, sources: str, condition: str, of_condition: Any
) -> None:
    assert found(text, *params) == Rows(
        Wanted.CONDITION, sources, condition, of_condition
    )


@pytest.mark.parametrize(
    ("text", "params", "keys"),
    [
        (
            "INSERT INTO dog (id, a) VALUES (%s, %s), (%s, %s)",
            (1, 2, 3, 4),
            [(1,), (3,)],
        ),
        (
            'INSERT INTO "dog" ("a", "id") VALUES (NOW(), %s::uuid) RETURNING "id"',
            ("x",),
            [("x",)],
        ),
        ("INSERT IGNORE INTO dog (id) VALUES (%s)", (1,), [(1,)]),
        ("INSERT OR IGNORE INTO dog (id) VALUES (%s)", (1,), [(1,)]),
        (
            "INSERT INTO dog (id, a) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (1, 2),
            [(1,)],
        ),
        (
            "INSERT INTO dog (id, a) VALUES (%s, %s) "
            'ON CONFLICT("id") DO UPDATE SET "a" = EXCLUDED."a"',
            (1, 2),
            [(1,)],
        ),
        (
            "INSERT INTO dog (id, a) SELECT * FROM UNNEST((%s)::numeric(6, 2)[], "
            "(%s)::varchar[])",
            ([1, 2], ["a", "b"]),
            [(1,), (2,)],
        ),
    ],
)
def test_keys_that_are_inserted_are_found(text: str, params: Any, keys: Any) -> None:
    assert found(text, *params) == Rows(Wanted.KEYS, keys=keys)


def test_keys_that_the_database_gives_are_numbers_to_come() -> None:
    text = "INSERT INTO dog (a) VALUES (%s)"
    assert found(text, 1) == Rows(Wanted.NEW_NUMBERS)


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("UPDATE dog SET id = %s WHERE id = %s", (1, 2)),
        ("UPDATE dog d SET a = 1 WHERE d.id = %s", (1,)),
        ("UPDATE dog SET a = 1 WHERE b = 2 LIMIT 1", ()),
        ("UPDATE dog, cat SET dog.a = 1", ()),
        ("UPDATE cat SET a = 1", ()),
        ("DELETE dog FROM dog INNER JOIN cat ON cat.dog = dog.id", ()),
        (
            "INSERT INTO dog (id, a) VALUES (%s, %s) ON CONFLICT (a) DO UPDATE SET a=1",
            (1, 2),
        ),
        ("INSERT OR REPLACE INTO dog (id) VALUES (%s)", (1,)),
        (
            "INSERT INTO dog (id, a) VALUES (%s, %s) ON DUPLICATE KEY UPDATE a = 1",
            (1, 2),
        ),
        ("INSERT INTO dog (id) VALUES (7)", ()),
        ("INSERT INTO dog (id) SELECT id FROM cat", ()),
        ("WITH x AS (SELECT 1) UPDATE dog SET a = 1", ()),
        ("MERGE INTO dog USING cat ON true WHEN MATCHED THEN DELETE", ()),
        ("UPDATE dog SET a = '%s' WHERE id = %s", (1,)),
        ("UPDATE", ()),
    ],
)
def test_what_is_not_certain_is_nothing(text: str, params: Any) -> None:
    rows = found(text, *params)

    assert rows is None or "'%s'" in text


def test_parameters_by_name_are_not_certain() -> None:
    text = "UPDATE dog SET a = %(a)s"
    assert rows_of(text, {"a": 1}, "dog", ("id",)) is None


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ('INSERT INTO "dog" ("a") SELECT a FROM cat', {"dog"}),
        ("insert or replace into DOG values (1)", {"dog"}),
        ("REPLACE INTO dog SET a = 1", {"dog"}),
        ("UPDATE ONLY dog SET a = (SELECT 1 FROM cat)", {"dog"}),
        ("UPDATE dog, cat SET dog.a = cat.a", {"dog", "cat"}),
        ("DELETE FROM public.dog USING cat", {"dog"}),
        ("/* of cat */ DELETE FROM dog -- and cat\n", {"dog"}),
        (
            "WITH x AS (DELETE FROM cat RETURNING id) UPDATE dog SET a = 1",
            {"dog", "cat"},
        ),
        ("MERGE INTO dog USING cat ON true", {"dog"}),
        ("TRUNCATE TABLE dog, cat", {"dog", "cat"}),
        ("COPY dog (id) FROM STDIN", {"dog"}),
        ("LOAD DATA INFILE 'x' INTO TABLE dog", {"dog"}),
        ("SELECT dogs_of(cat) FROM cat", set()),
        ("CALL tidy()", set()),
    ],
)
def test_tables_that_a_statement_writes_to_are_found(text: str, tables: Any) -> None:
    schema = Schema(frozenset(("dog", "cat", "flea")), {}, {})
    assert schema.written_by(text) == tables


def test_tables_that_change_with_others_are_found_however_far_away() -> None:
    followers = {"dog": {"flea"}, "flea": {"log", "dog"}}
    schema = Schema(frozenset(("dog", "flea", "log")), followers, {})

    assert schema.with_followers(["dog"]) == {"dog", "flea", "log"}
    assert schema.with_followers(["log"]) == {"log"}


@pytest.mark.parametrize(
    ("text", "ends", "ends_in_mariadb"),
    [
        ("COMMIT", True, True),
        ("commit and chain", True, True),
        ("SELECT 1; COMMIT", True, True),
        ("/* */ END", True, True),
        ("ROLLBACK", True, True),
        ("ROLLBACK TO SAVEPOINT x", False, False),
        ("SAVEPOINT x", False, False),
        ("BEGIN", True, True),
        ("SET autocommit = 1", True, True),
        ("CREATE TABLE x (a int)", False, True),
        ("CREATE TEMPORARY TABLE x (a int)", False, False),
        ("TRUNCATE x", False, True),
        ("UPDATE x SET a = 1", False, False),
    ],
)
def test_what_ends_a_transaction_is_known(
    text: str, ends: bool, ends_in_mariadb: bool
) -> None:
    assert bool(ending(text, SQLITE)) is ends  # type: ignore[arg-type]
    assert bool(ending(text, MARIADB)) is ends_in_mariadb  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT tidy()", True),
        ("( SELECT 1 )", True),
        ("WITH x AS (SELECT 1) SELECT 1", True),
        ("WITH x AS (DELETE FROM y RETURNING 1) SELECT 1", False),
        ("UPDATE x SET a = 1", False),
        ("CALL tidy()", False),
    ],
)
def test_queries_are_told_from_other_statements(text: str, expected: bool) -> None:
    assert is_query(text) is expected
