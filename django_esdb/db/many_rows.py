"""Inserts and updates of many rows, each with its own values, in few statements."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.copied_rows import can_copy, copy_rows
from django_esdb.db.fields import Field
from django_esdb.db.vendors import most_characters

T = TypeVar("T")

# Rows in a statement. More of them make a VALUES list no faster, and a CASE slower,
# in which each row's key is looked for among all.
_VALUES_ROWS = 1_000
_CASE_ROWS = 200
# Types that have a length, by which a cast cuts off in silence what a column refuses.
# Some are of length one where none is given, so values are cast to such without one.
_LENGTH = r"(?!\w)\s*(?:\(\s*\d+\s*\))?"
_WITHOUT_LENGTH = [
    (re.compile(kind + _LENGTH, re.IGNORECASE), name)
    for kind, name in (
        (r"(varchar|(national\s+)?char(acter)?\s+varying)", "varchar"),
        (r"(nchar|bpchar|(national\s+)?char(acter)?)", "bpchar"),
        (r"(varbit|bit(\s+varying)?)", "varbit"),
    )
]


def can_write_many(connection: BaseDatabaseWrapper, fields: Sequence[Field]) -> bool:
    """Return whether the functions below know how to write these fields."""
    return all(
        not hasattr(field, "get_placeholder") or isinstance(field, models.BinaryField)
        for field in fields
    )


def in_parts(
    connection: BaseDatabaseWrapper,
    rows: Sequence[T],
    at_once: int,
    values_of: Callable[[T], Iterable[Any]],
) -> Iterator[Sequence[T]]:
    """
    Yield as many rows at a time as a statement can be about.

    Args:
        connection: Whose statements they are.
        rows: The rows.
        at_once: How many may be in a statement.
        values_of: Returns what may be long of a row: texts, bytes and tuples of texts.
    """
    limit = most_characters(connection)
    if limit is None:
        for start in range(0, len(rows), at_once):
            yield rows[start : start + at_once]
        return
    start = length = 0
    for end, row in enumerate(rows):
        more = _length(values_of(row))
        if end > start and (length + more > limit or end - start >= at_once):
            yield rows[start:end]
            start, length = end, 0
        length += more
    if rows:
        yield rows[start:]


def _length(values: Iterable[Any]) -> int:
    length = 0
    for value in values:
        if isinstance(value, str | bytes):
            length += len(value)
        elif type(value) is tuple:
            length += sum(map(len, value))
    return length


def insert_many(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    fields: Sequence[Field],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """
    Insert rows by one statement.

    It is what Django would execute to save one, with more values; to put a statement
    for many rows together takes Django longer than to execute it. Very many are copied,
    where the database can do that.

    Args:
        connection: In whose transaction.
        model: Whose rows they are.
        fields: Those that have values, the primary key among them.
        rows: Each row's values, in the fields' order; none is an expression.

    Raises:
        django.db.Error: What the database says.
    """
    table = model._meta.db_table
    if can_copy(connection, table, fields, len(rows)):
        copy_rows(
            connection, table, fields, (_prepared(connection, fields, r) for r in rows)
        )
        return
    quote = connection.ops.quote_name
    columns = ", ".join(quote(_column(field)) for field in fields)
    one_row = f"({', '.join(['%s'] * len(fields))})"
    sql = (
        f"INSERT INTO {quote(table)} ({columns}) "  # noqa: S608  (names)
        f"VALUES {', '.join([one_row] * len(rows))}"
    )
    parameters = [value for row in rows for value in _prepared(connection, fields, row)]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def update_many(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    fields: Sequence[Field],
    rows: Sequence[tuple[Any, ...]],
) -> int:
    """
    Update rows, each in place and none that is not there.

    Args:
        connection: In whose transaction.
        model: Whose rows they are.
        fields: Which ones to set, without the primary key.
        rows: For each row its primary key, then its values, in the fields' order.

    Returns:
        How many rows there were.

    Raises:
        django.db.Error: What the database says.
    """
    pk = model._meta.pk
    prepared = [_prepared(connection, (pk, *fields), row) for row in rows]
    if connection.vendor == "postgresql" and len(rows) > 1:
        return _update_from_values(connection, model, fields, prepared)
    if connection.vendor == "mysql" and len(rows) > 1:
        return _update_by_case(connection, model, fields, prepared)
    return _update_one_by_one(connection, model, fields, prepared)


def _prepared(
    connection: BaseDatabaseWrapper, fields: Sequence[Field], row: tuple[Any, ...]
) -> tuple[Any, ...]:
    return tuple(
        field.get_db_prep_save(value, connection)
        for field, value in zip(fields, row, strict=True)
    )


def _update_one_by_one(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    fields: Sequence[Field],
    rows: list[tuple[Any, ...]],
) -> int:
    """Execute one statement again and again, as is fastest within the process."""
    quote = connection.ops.quote_name
    assignments = ", ".join(f"{quote(_column(field))} = %s" for field in fields)
    sql = (
        f"UPDATE {quote(model._meta.db_table)} SET {assignments} "  # noqa: S608  (names)
        f"WHERE {quote(_column(model._meta.pk))} = %s"
    )
    parameters = [(*values, pk) for pk, *values in rows]
    with connection.cursor() as cursor:
        if len(parameters) == 1:
            cursor.execute(sql, parameters[0])
        else:
            cursor.executemany(sql, parameters)
        return int(cursor.rowcount)


def _update_from_values(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    fields: Sequence[Field],
    rows: list[tuple[Any, ...]],
) -> int:
    quote = connection.ops.quote_name
    table, pk = quote(model._meta.db_table), model._meta.pk
    names = [f"v{number}" for number in range(len(fields))]
    assignments = ", ".join(
        f"{quote(_column(field))} = esdb_new_values.{name}"
        for field, name in zip(fields, names, strict=True)
    )
    casts = [f"%s::{_type(connection, field)}" for field in (pk, *fields)]
    one_row = f"({', '.join(casts)})"
    count = 0
    with connection.cursor() as cursor:
        for start in range(0, len(rows), _VALUES_ROWS):
            some = rows[start : start + _VALUES_ROWS]
            sql = (
                f"UPDATE {table} SET {assignments} "  # noqa: S608  (names)
                f"FROM (VALUES {', '.join([one_row] * len(some))}) "
                f"AS esdb_new_values (pk, {', '.join(names)}) "
                f"WHERE {table}.{quote(_column(pk))} = esdb_new_values.pk"
            )
            cursor.execute(sql, [value for row in some for value in row])
            count += cursor.rowcount
    return count


def _type(connection: BaseDatabaseWrapper, field: Field) -> str:
    kind = field.cast_db_type(connection) or "text"
    for pattern, name in _WITHOUT_LENGTH:
        if found := pattern.match(kind):
            return name + kind[found.end() :]
    return kind


def _update_by_case(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    fields: Sequence[Field],
    rows: list[tuple[Any, ...]],
) -> int:
    quote = connection.ops.quote_name
    key = quote(_column(model._meta.pk))
    count = 0
    with connection.cursor() as cursor:
        for some in in_parts(connection, rows, _CASE_ROWS, tuple):
            assignments, parameters = [], []
            for index, field in enumerate(fields, start=1):
                cases = " WHEN %s THEN %s" * len(some)
                assignments.append(f"{quote(_column(field))} = CASE {key}{cases} END")
                parameters += [item for row in some for item in (row[0], row[index])]
            sql = (
                f"UPDATE {quote(model._meta.db_table)} SET "  # noqa: S608  (names)
                f"{', '.join(assignments)} "
                f"WHERE {key} IN ({', '.join(['%s'] * len(some))})"
            )
            cursor.execute(sql, [*parameters, *(row[0] for row in some)])
            count += cursor.rowcount
    return count


def _column(field: Field) -> str:
    assert field.column is not None
    return field.column
