"""How many rows there are, without counting many of them."""

from __future__ import annotations

from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.vendors import is_postgresql


def counted_up_to(rows: models.QuerySet[Any], limit: int) -> int:
    """Return how many rows a query finds; ``limit + 1`` if there are more."""
    return int(rows.order_by()[: limit + 1].count())


def estimated_rows(model: type[models.Model], using: str) -> int | None:
    """
    Return how many rows a model's table has, as the database believes.

    It knows that from when it has last analysed the table.

    Returns:
        None if it does not know.
    """
    connection = connections[using]
    table = model._meta.db_table
    if is_postgresql(connection):
        return _of_postgresql(connection, table)
    if connection.vendor == "mysql":
        return _first(
            connection,
            "SELECT table_rows FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_name = %s",
            table,
        )
    if connection.vendor == "sqlite":
        return _of_sqlite(connection, table)
    return None


def _of_postgresql(connection: BaseDatabaseWrapper, table: str) -> int | None:
    found = _first(
        connection,
        "SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)",
        connection.ops.quote_name(table),
    )
    # Below zero it has never looked.
    return None if found is None or found < 0 else found


def _of_sqlite(connection: BaseDatabaseWrapper, table: str) -> int | None:
    # The table is there since something was analysed.
    if not _first(
        connection,
        "SELECT COUNT(*) FROM sqlite_master WHERE name = %s",
        "sqlite_stat1",
    ):
        return None
    # «ROWS AND MORE»: of each index.
    return _first(
        connection,
        "SELECT MAX(CAST(stat AS INTEGER)) FROM sqlite_stat1 WHERE tbl = %s",
        table,
    )


def _first(connection: BaseDatabaseWrapper, query: str, value: str) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(query, [value])
        row = cursor.fetchone()
    return None if row is None or row[0] is None else int(row[0])
