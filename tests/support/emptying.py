"""
Emptying the database after tests that commit, for a part of what Django takes for it.

Django empties all tables and has content types and permissions made anew, which takes
more than many of these tests themselves. Here tables that are empty are left alone, and
so are content types and permissions, unless a test has changed them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from django.core.management.color import no_style
from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TransactionTestCase

# What Django makes after each migration; nothing else is there from the beginning.
_MADE = ("django_content_type", "auth_permission")

_as_django_does = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]
# The rows of these in each database, as Django has made them.
_rows_made: dict[str, list[Any]] = {}
# The statement that a connection to PostgreSQL has prepared.
_prepared: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
# Connections to PostgreSQL that outlive a test, by the database's name.
_kept: dict[str, BaseDatabaseWrapper] = {}


def use() -> None:
    """Have it done from now on, for all tests of this process."""
    TransactionTestCase._fixture_teardown = empty  # type: ignore[attr-defined]


def empty(test: Any) -> None:
    """Empty the databases that a test case uses."""
    if test.available_apps is not None or test.serialized_rollback:
        _as_django_does(test)
        return
    aliases = test._databases_names(include_mirrors=False)
    try:
        _empty(test, [_to_empty(connections[alias]) for alias in aliases])
    except OperationalError:
        # A test has ended all sessions.
        close()
        _empty(test, [_to_empty(connections[alias]) for alias in aliases])


def close() -> None:
    """Close what is kept open from test to test."""
    for connection in _kept.values():
        connection.close()
    _kept.clear()


def _to_empty(connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    """
    Return the connection by which its database is emptied.

    A new session of PostgreSQL has to learn of all tables first, and to plan what is
    asked for, which takes more than all the rest. Django closes a test's.
    """
    if connection.vendor != "postgresql":
        return connection
    # Django does it later. What a test has left unfinished would be waited for.
    connection.close()
    name = str(connection.settings_dict["NAME"])
    if name not in _kept:
        _kept[name] = connection.copy()
    return _kept[name]


def _empty(test: Any, used: list[BaseDatabaseWrapper]) -> None:
    # The first time, too: only then it is known what Django makes.
    if any(_rows_made.get(each.alias) != _made(each) for each in used):
        _as_django_does(test)
        _rows_made.update((each.alias, _made(each)) for each in used)
        return
    for connection in used:
        if filled := _filled(connection):
            _delete(connection, filled)


def _made(connection: BaseDatabaseWrapper) -> list[Any]:
    rows: list[Any] = []
    with connection.cursor() as cursor:
        for table in _MADE:
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            rows.append(cursor.fetchall())
    return rows


def _delete(connection: BaseDatabaseWrapper, tables: list[str]) -> None:
    if connection.vendor != "postgresql":
        ops = connection.ops
        flush = ops.sql_flush(no_style(), tables, reset_sequences=False)
        ops.execute_sql_flush(flush)
        return
    # TRUNCATE makes new files, which takes several times as long as a few rows do.
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        # Together they are one transaction: references are looked at in the end.
        cursor.execute("; ".join(f"DELETE FROM {quote(table)}" for table in tables))


def _filled(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the other tables that have rows."""
    names = connection.introspection.django_table_names
    try:
        return _with_rows(connection, names(include_views=False))
    except DatabaseError:
        # A test has taken some away. To ask which there are takes longer than the rest.
        _prepared.clear()
        return _with_rows(connection, names(only_existing=True, include_views=False))


def _with_rows(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> list[str]:
    quote = connection.ops.quote_name
    sql = " UNION ALL ".join(
        f"SELECT '{table}', EXISTS (SELECT 1 FROM {quote(table)})"
        for table in sorted(tables)
        if table not in _MADE
    )
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # To plan it takes twenty times as long as to do it.
            if _prepared.get(connection.connection) != sql:
                cursor.execute("DEALLOCATE ALL")
                cursor.execute(f"PREPARE tables_with_rows AS {sql}")
                _prepared[connection.connection] = sql
            sql = "EXECUTE tables_with_rows"
        cursor.execute(sql)
        return [table for table, is_filled in cursor.fetchall() if is_filled]
