"""Inserting many rows by PostgreSQL's COPY, where it leaves what INSERT would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import cache, partial
from typing import Any
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import ForeignKey

from django_esdb.db.fields import Field
from django_esdb.db.vendors import is_postgresql

# Below that its second round trip costs more than it saves.
FEWEST_ROWS = 100
# What makes of a field's value what is given to the database.
_ADAPTING = (
    *("get_db_prep_save", "get_db_prep_value", "get_prep_value", "to_python"),
    "db_type",
)
# Rules do not apply to COPY, row security forbids it, and it writes to columns that
# INSERT may not write to. In a column of another type than the field's INSERT casts a
# value, and COPY reads it as text.
_TAKES_COPIES = """
    SELECT c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
        AND NOT EXISTS (SELECT 1 FROM pg_rewrite r WHERE r.ev_class = c.oid)
        AND count(a.attname) = cardinality(%(names)s::text[])
    FROM pg_class c
    LEFT JOIN unnest(%(names)s::text[], %(types)s::text[]) AS field (name, type) ON true
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = field.name
        AND a.attnum > 0 AND a.attidentity <> 'a' AND a.attgenerated = ''
        AND a.atttypid = to_regtype(field.type)
    WHERE c.oid = to_regclass(%(table)s) GROUP BY c.oid
"""

# What each of the driver's connections was asked already.
_asked: WeakKeyDictionary[Any, dict[tuple[str, ...], bool]] = WeakKeyDictionary()


def can_copy(
    connection: BaseDatabaseWrapper, table: str, fields: Sequence[Field], count: int
) -> bool:
    """
    Return whether rows are better copied than inserted, and come out the same.

    Asks the database once about each table.

    Args:
        connection: In whose transaction.
        table: Its name.
        fields: Those that have values.
        count: How many rows there are.
    """
    if count < FEWEST_ROWS or not is_postgresql(connection):
        return False
    kinds: Iterable[Any] = (type(each) for field in fields for each in _chain(field))
    if not all(map(_is_adapted_by_django, kinds)):
        return False
    known = _asked.setdefault(connection.connection, {})
    key = (table, *(field.attname for field in fields))
    if key not in known:
        known[key] = _takes_copies(connection, table, fields)
    return known[key]


def _takes_copies(
    connection: BaseDatabaseWrapper, table: str, fields: Sequence[Field]
) -> bool:
    types = [field.db_type(connection) for field in fields]
    with connection.cursor() as cursor:
        if not hasattr(cursor.cursor, "copy"):
            # An old driver.
            return False
        cursor.execute(
            _TAKES_COPIES,
            {
                "table": connection.ops.quote_name(table),
                "names": [field.column for field in fields],
                "types": types,
            },
        )
        found = cursor.fetchone()
    return bool(found and found[0])


def copy_rows(
    connection: BaseDatabaseWrapper,
    table: str,
    fields: Sequence[Field],
    rows: Iterable[Sequence[Any]],
) -> None:
    """
    Insert rows by one COPY, of which execute wrappers and query logs get to know.

    Args:
        connection: In whose transaction.
        table: Its name.
        fields: Those that have values.
        rows: Their values as the driver takes them; none is an expression.

    Raises:
        django.db.Error: What the database or the driver says.
    """
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in fields)
    with connection.cursor() as cursor:

        def copy(sql: str, params: Any, many: bool, context: Any) -> None:
            logged = getattr(cursor, "debug_sql", None)
            with (
                nullcontext() if logged is None else logged(sql),
                connection.wrap_database_errors,
                cursor.cursor.copy(sql) as copied,
            ):
                write = copied.write_row
                for row in rows:
                    write(row)

        execute: Any = copy
        # As Django does around each statement of a cursor.
        for wrapper in reversed(connection.execute_wrappers):
            execute = partial(wrapper, execute)
        sql = f"COPY {quote(table)} ({columns}) FROM STDIN"
        execute(sql, None, False, {"connection": connection, "cursor": cursor})


def _chain(field: Any) -> list[Any]:
    """Return a field with those that its value is one of."""
    found = [field]
    while isinstance(found[-1], ForeignKey):
        found.append(found[-1].target_field)
    return found


@cache
def _is_adapted_by_django(kind: type[Field]) -> bool:
    """Return whether a field's values are of the types that its column's are."""
    return all(
        str(getattr(kind, name).__module__).startswith("django.") for name in _ADAPTING
    )
