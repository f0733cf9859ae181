"""Making one table's rows those of another, in few statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.vendors import is_postgresql

# Fields whose values the database tells apart wherever they differ.
_EXACT = (
    models.IntegerField,
    models.BooleanField,
    models.UUIDField,
    models.DateField,
    models.TimeField,
    models.BinaryField,
)


@dataclass(frozen=True)
class Exchange:
    """
    A table, and another one whose rows it is to have.

    Attributes:
        model: Whose columns both have.
        table: The one that is changed.
        source: The one that is read.
    """

    model: type[models.Model]
    table: str
    source: str


def exchange_rows(
    connection: BaseDatabaseWrapper, exchanges: Sequence[Exchange]
) -> tuple[int, int]:
    """
    Make tables' rows those of others, within a transaction.

    Rows that are equal in all columns stay as they are. The others are deleted, then
    what is missing is inserted, so that any values may have changed places.

    Args:
        connection: In whose transaction.
        exchanges: The tables, those that refer to others first.

    Returns:
        How many rows were deleted, and how many were inserted.

    Raises:
        django.db.IntegrityError: Other tables' rows refer to rows that would be gone,
            or new rows refer to what is not there.
        django.db.Error: What the database says.
    """
    deleted = inserted = 0
    with (
        _references_checked_at_end(connection, exchanges),
        connection.cursor() as cursor,
    ):
        for each in exchanges:
            cursor.execute(_deletion(connection, each))
            deleted += cursor.rowcount
        for each in reversed(exchanges):
            cursor.execute(_insertion(connection, each))
            inserted += cursor.rowcount
    for each in exchanges:
        _raise_sequence(connection, each)
    return deleted, inserted


def _deletion(connection: BaseDatabaseWrapper, exchange: Exchange) -> str:
    quote = connection.ops.quote_name
    table, source = quote(exchange.table), quote(exchange.source)
    pk = quote(_pk(exchange).column)
    same = " AND ".join(
        _is_same(connection, field, table, "b") for field in _columns(exchange.model)
    )
    # The key once more, as an index finds it.
    return (
        f"DELETE FROM {table} WHERE NOT EXISTS "  # noqa: S608  (names)
        f"(SELECT 1 FROM {source} b WHERE b.{pk} = {table}.{pk} AND {same})"
    )


def _insertion(connection: BaseDatabaseWrapper, exchange: Exchange) -> str:
    quote = connection.ops.quote_name
    table, source = quote(exchange.table), quote(exchange.source)
    columns = [quote(field.column) for field in _columns(exchange.model)]
    pk = quote(_pk(exchange).column)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) "  # noqa: S608  (names)
        f"SELECT {', '.join(f'b.{column}' for column in columns)} FROM {source} b "
        f"WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE t.{pk} = b.{pk})"
    )


def _pk(exchange: Exchange) -> Any:
    return exchange.model._meta.pk


def _columns(model: type[models.Model]) -> list[Any]:
    """Return the fields of a model's own table that have values of their own."""
    return [
        field
        for field in model._meta.local_concrete_fields
        if not getattr(field, "generated", False)
    ]


def _is_same(
    connection: BaseDatabaseWrapper, field: Any, table: str, other: str
) -> str:
    """Return the condition that a column has the same value, or none, in both rows."""
    column = connection.ops.quote_name(field.column)
    one, two = f"{table}.{column}", f"{other}.{column}"
    target = field
    while target.remote_field is not None and hasattr(target, "target_field"):
        target = target.target_field
    is_exact = isinstance(target, _EXACT)
    if is_postgresql(connection):
        if not is_exact:
            # Not all types can be compared, and what is equal need not be the same.
            one, two = f'{one}::text COLLATE "C"', f'{two}::text COLLATE "C"'
        return f"{one} IS NOT DISTINCT FROM {two}"
    if connection.vendor == "mysql":
        if not is_exact:
            one, two = f"BINARY {one}", f"BINARY {two}"
        return f"{one} <=> {two}"
    return f"{one} IS {two}" + ("" if is_exact else " COLLATE BINARY")


@contextmanager
def _references_checked_at_end(
    connection: BaseDatabaseWrapper, exchanges: Sequence[Exchange]
) -> Iterator[None]:
    """Have references lead nowhere in the block, and none of them at its end."""
    if is_postgresql(connection):
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        yield
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        return
    if connection.vendor != "mysql":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA defer_foreign_keys = ON")
        yield
        # It would say so at the commit, without the tables' names.
        connection.check_constraints(table_names=_sqlite_tables(connection, exchanges))
        return
    with connection.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
    try:
        yield
        # What it has not looked at it never will.
        _check_mariadb(connection, exchanges)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 1")


def _sqlite_tables(
    connection: BaseDatabaseWrapper, exchanges: Sequence[Exchange]
) -> list[str]:
    """Return the tables that are changed, and those that refer to them."""
    changed = {each.table for each in exchanges}
    found = list(changed)
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table in changed:
                continue
            cursor.execute("SELECT 1 FROM pragma_foreign_key_list(%s) LIMIT 1", [table])
            if not cursor.fetchone():
                continue
            cursor.execute('SELECT "table" FROM pragma_foreign_key_list(%s)', [table])
            if changed.intersection(name for (name,) in cursor.fetchall()):
                found.append(table)
    return found


def _check_mariadb(
    connection: BaseDatabaseWrapper, exchanges: Sequence[Exchange]
) -> None:
    """
    Look at each foreign key from or to a table.

    Raises:
        IntegrityError: One leads nowhere.
    """
    quote = connection.ops.quote_name
    tables = [each.table for each in exchanges]
    marks = ", ".join(["%s"] * len(tables))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, referenced_table_name, "  # noqa: S608
            "referenced_column_name FROM information_schema.key_column_usage "
            "WHERE table_schema = DATABASE() AND referenced_table_schema = DATABASE() "
            f"AND (table_name IN ({marks}) OR referenced_table_name IN ({marks}))",
            [*tables, *tables],
        )
        for table, column, target, target_column in cursor.fetchall():
            cursor.execute(
                f"SELECT r.{quote(column)} FROM {quote(table)} r "  # noqa: S608
                f"LEFT JOIN {quote(target)} t "
                f"ON t.{quote(target_column)} = r.{quote(column)} "
                f"WHERE r.{quote(column)} IS NOT NULL "
                f"AND t.{quote(target_column)} IS NULL LIMIT 1"
            )
            if cursor.fetchone():
                msg = (
                    f"rows of {table} refer by {column} to rows of {target} that are "
                    "not there"
                )
                raise IntegrityError(msg)


def _raise_sequence(connection: BaseDatabaseWrapper, exchange: Exchange) -> None:
    """Have keys that the database chooses come after those that there are."""
    pk = _pk(exchange)
    if not is_postgresql(connection) or not isinstance(pk, models.AutoField):
        # Elsewhere an insertion with a key does that.
        return
    quote = connection.ops.quote_name
    table, column = quote(exchange.table), quote(str(pk.column))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [table, str(pk.column)])
        (sequence,) = cursor.fetchone()
        if sequence is not None:
            # Never back: keys of rows that are gone are not given again.
            cursor.execute(
                f"SELECT setval(%s, found.most) FROM {sequence} s, "  # noqa: S608
                f"(SELECT MAX({column}) AS most FROM {table}) found "
                "WHERE found.most >= s.last_value",
                [sequence],
            )
