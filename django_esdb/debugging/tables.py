"""Tables and their rows, read past all that looks at statements."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from django.apps import apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

# A row's values by the names of its fields.
Row = dict[str, Any]
# What tells it from others of its table.
Key = tuple[Any, ...]

_KEYS_AT_ONCE = 200
_MANY = 1_000_000


@contextmanager
def unobserved(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Execute statements past all wrappers, which take them for the handler's."""
    wrappers, connection.execute_wrappers = connection.execute_wrappers, []
    try:
        yield
    finally:
        connection.execute_wrappers = wrappers


def models_by_table() -> dict[str, type[models.Model]]:
    """Return for each table the model whose rows it has."""
    found: dict[str, type[models.Model]] = {}
    for model in apps.get_models(include_auto_created=True):
        meta = model._meta
        if not meta.proxy and not meta.swapped:
            found.setdefault(meta.db_table, model)
    return found


class Table:
    """
    A table of a database.

    Args:
        connection: The database's.
        name: The table's.
        model: Whose rows it has; None if that is no model's.

    Attributes:
        label: What people call it: the model's label, or else the name.
    """

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        name: str,
        model: type[models.Model] | None,
    ) -> None:
        self._connection = connection
        self.name = name
        self.model = model
        self.label = name if model is None else model._meta.label

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of the primary key; none if there is none."""
        if self.model is not None:
            return tuple(field.column for field in self._key_fields)
        with unobserved(self._connection), self._connection.cursor() as cursor:
            return tuple(
                self._connection.introspection.get_primary_key_columns(
                    cursor, self.name
                )
                or ()
            )

    @cached_property
    def _key_fields(self) -> list[Any]:
        assert self.model is not None
        meta: Any = self.model._meta
        # Composite keys have several, from Django 5.2 on.
        return list(getattr(meta, "pk_fields", None) or [meta.pk])

    @cached_property
    def _fields(self) -> list[Any]:
        assert self.model is not None
        return [
            field for field in self.model._meta.local_fields if field.column is not None
        ]

    def read(self, limit: int) -> dict[Key, Row] | None:
        """Return all rows by their keys; None if there are more than *limit*."""
        found = self._read(limit + 1, None)
        return None if len(found) > limit else found

    def read_keys(self, keys: Collection[Key]) -> dict[Key, Row]:
        """Return those of the rows with these keys that there are."""
        found: dict[Key, Row] = {}
        all_keys = list(keys)
        for start in range(0, len(all_keys), _KEYS_AT_ONCE):
            some = all_keys[start : start + _KEYS_AT_ONCE]
            found |= self._read(None, some)
        return found

    def keys_where(
        self,
        condition: str,
        params: Sequence[Any] | None,
        limit: int,
        sources: str = "",
    ) -> list[Key] | None:
        """
        Return the keys of the rows that a statement's condition is true of.

        Args:
            condition: SQL; empty for all.
            params: Of what is in *sources* and the condition.
            limit: How many there may be.
            sources: SQL of what else the condition is about.

        Returns:
            The keys; None if there are more.
        """
        quote = self._connection.ops.quote_name
        columns = ", ".join(
            f"{quote(self.name)}.{quote(each)}" for each in self.key_columns
        )
        query = f"SELECT {columns} FROM {quote(self.name)}"  # noqa: S608  (names)
        query += f", {sources}" if sources else ""
        query += f" WHERE {condition}" if condition else ""
        with unobserved(self._connection), self._connection.cursor() as cursor:
            cursor.execute(query, params)
            found = cursor.fetchmany(limit + 1)
        if len(found) > limit:
            return None
        return [self.key_of(row) for row in found]

    def largest_key(self) -> Any:
        """Return the largest number of a primary key that is one; None without rows."""
        quote = self._connection.ops.quote_name
        (column,) = self.key_columns
        query = f"SELECT MAX({quote(column)}) FROM {quote(self.name)}"  # noqa: S608
        with unobserved(self._connection), self._connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]

    def keys_above(self, number: Any) -> list[Key]:
        """Return the keys of the rows with larger numbers."""
        column = self._connection.ops.quote_name(self.key_columns[0])
        found = self.keys_where(f"{column} > %s", [number], _MANY)
        return found or []

    @property
    def has_numbered_rows(self) -> bool:
        """Whether the database gives each new row a higher number."""
        return self.model is not None and isinstance(
            self.model._meta.pk, models.AutoField
        )

    def key_of(self, values: Collection[Any]) -> Key:
        """Return the key that a database's values of the key's columns are."""
        if self.model is None:
            return tuple(map(_hashable, values))
        return tuple(
            _hashable(_converted(field, value, self._connection))
            for field, value in zip(self._key_fields, values, strict=True)
        )

    def key_given(self, values: Collection[Any]) -> Key:
        """Return the key that a statement's parameters are, as they were prepared."""
        if self.model is None:
            return tuple(map(_hashable, values))
        return tuple(
            _hashable(field.to_python(value))
            for field, value in zip(self._key_fields, values, strict=True)
        )

    def _read(self, limit: int | None, keys: list[Key] | None) -> dict[Key, Row]:
        with unobserved(self._connection):
            if self.model is not None:
                return self._read_model(self.model, limit, keys)
            return self._read_plain(limit, keys)

    def _read_model(
        self, model: type[models.Model], limit: int | None, keys: list[Key] | None
    ) -> dict[Key, Row]:
        rows: QuerySet[Any] = QuerySet(model, using=self._connection.alias)
        rows = rows.order_by()
        names = [field.attname for field in self._key_fields]
        if keys is not None:
            condition = models.Q()
            if len(names) == 1:
                condition = models.Q(**{f"{names[0]}__in": [key[0] for key in keys]})
            else:
                for key in keys:
                    condition |= models.Q(**dict(zip(names, key, strict=True)))
            rows = rows.filter(condition)
        attnames = [field.attname for field in self._fields]
        values = rows.values(*dict.fromkeys((*names, *attnames)))
        found = values if limit is None else values[:limit]
        return {tuple(_hashable(row[name]) for name in names): row for row in found}

    def _read_plain(self, limit: int | None, keys: list[Key] | None) -> dict[Key, Row]:
        quote = self._connection.ops.quote_name
        query, params = f"SELECT * FROM {quote(self.name)}", []  # noqa: S608
        if keys is not None:
            one = " AND ".join(f"{quote(each)} = %s" for each in self.key_columns)
            query += " WHERE " + " OR ".join([f"({one})"] * len(keys))
            params = [value for key in keys for value in key]
        elif limit is not None:
            query += f" LIMIT {limit}"
        with self._connection.cursor() as cursor:
            cursor.execute(query, params or None)
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        if self.key_columns:
            return {
                tuple(_hashable(row[name]) for name in self.key_columns): row
                for row in rows
            }
        return _counted(rows)


def _counted(rows: list[Row]) -> dict[Key, Row]:
    """Tell rows without a key from each other by all that they have."""
    found: dict[Key, Row] = {}
    seen: dict[Key, int] = {}
    for row in rows:
        values = tuple(map(_hashable, row.values()))
        seen[values] = seen.get(values, 0) + 1
        found[(*values, seen[values])] = row
    return found


def _converted(field: Any, value: Any, connection: BaseDatabaseWrapper) -> Any:
    """Return a value as a query of Django's returns it."""
    converters = [
        *connection.ops.get_db_converters(field.cached_col),
        *field.get_db_converters(connection),
    ]
    for convert in converters:
        value = convert(value, field.cached_col, connection)
    return value


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(sorted((key, _hashable(each)) for key, each in value.items()))
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return bytes(value) if isinstance(value, bytearray | memoryview) else value
