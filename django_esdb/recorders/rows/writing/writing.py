"""Writing what changed: a statement for each model and set of fields."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from django.db import DatabaseError, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import sql

from django_esdb.db.fields import Field, names_columns
from django_esdb.db.many_rows import can_write_many, in_parts, insert_many, update_many
from django_esdb.db.vendors import most_parameters, returns_new_rows
from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.identity_map import IdentityMap
from django_esdb.recorders.rows.values.columns import Column
from django_esdb.recorders.rows.values.frozen import same
from django_esdb.recorders.rows.writing.changes import Change, put_in_order


def write(connection: BaseDatabaseWrapper, maps: Sequence[IdentityMap]) -> None:
    """
    Write deleted, changed and new rows of these models.

    Nothing is inserted that was changed, and nothing updated that is new. Rows that
    give up a unique value are written before those that take it, and those that are
    referred to before those that refer to them. New rows of a model are inserted in
    the order in which they were added, since the database may number them.

    Raises:
        DatabaseError: The database refuses something, or a changed row is not
            there any more.
        IntegrityError: Rows exchange a unique value among themselves.
    """
    for rows in maps:
        _delete(rows)
    changes = [change for rows in maps for change in _changes(rows)]
    put_in_order(connection, changes)
    levels: dict[int, dict[Any, list[Change]]] = defaultdict(lambda: defaultdict(list))
    for change in changes:
        levels[change.level][change.rows, change.indexes].append(change)
    for level in sorted(levels):
        for (rows, indexes), group in levels[level].items():
            entries = [change.entry for change in group]
            if indexes is None:
                _insert(connection, rows, entries)
            else:
                _update(connection, rows, indexes, entries)
            for entry in entries:
                rows.written(entry)


def _delete(rows: IdentityMap) -> None:
    keys = list(rows.deleted)
    at_once = most_parameters(rows.unit.connection)
    for start in range(0, len(keys), at_once):
        _all(rows).filter(pk__in=keys[start : start + at_once]).delete()
    for stretch in rows.deleted.values():
        rows.changed_now.note_written(None, stretch)
    rows.deleted.clear()


def _all(rows: IdentityMap) -> models.QuerySet[Any]:
    # Managers may leave out rows, or delete them in a way of their own.
    return models.QuerySet(rows.model, using=rows.unit.using)


def _changes(rows: IdentityMap) -> Iterator[Change]:
    for entry in list(rows.dirty):
        if entry.stored is None:
            yield Change(rows, entry, None)
            continue
        indexes = tuple(
            index
            for index, (before, now) in enumerate(
                zip(entry.stored, entry.current, strict=True)
            )
            if (entry.writes_all or not same(before, now))
            and not rows.instances.is_read_only(index)
        )
        if indexes:
            if rows.rewritten:
                indexes = _with_rewritten(rows, entry, indexes)
            yield Change(rows, entry, indexes)
        else:
            rows.written(entry)


def _with_rewritten(
    rows: IdentityMap, entry: Entry, indexes: tuple[int, ...]
) -> tuple[int, ...]:
    """Return columns to be set with those that are not stored as they were read."""
    current = entry.current
    also = [
        index for index, is_rewritten in rows.rewritten if is_rewritten(current[index])
    ]
    return tuple(sorted({*indexes, *also}))


class _Values:
    """What Django's insertion takes for an object: attributes with values."""

    def __init__(self, fields: Sequence[Field], values: Sequence[Any]) -> None:
        for field, value in zip(fields, values, strict=True):
            setattr(self, field.attname, value)


def _insert(
    connection: BaseDatabaseWrapper, rows: IdentityMap, entries: Sequence[Entry]
) -> None:
    # One after the other: most databases continue numbering at the highest key.
    for has_keys, group in groupby(entries, lambda entry: entry.pk is not None):
        some = list(group)
        if has_keys:
            _insert_keyed(connection, rows, some)
        elif returns_new_rows(connection):
            _insert_unkeyed(connection, rows, some)
        else:
            for entry in some:
                _insert_unkeyed(connection, rows, [entry])


def _insert_keyed(
    connection: BaseDatabaseWrapper, rows: IdentityMap, entries: Sequence[Entry]
) -> None:
    fields = [rows.info.pk, *rows.info.fields]
    is_plain = can_write_many(connection, fields)
    columns = _written_columns(rows)
    for some in _parts(connection, entries, fields):
        values = [(entry.pk, *_values(columns, entry)) for entry in some]
        if is_plain and not any(_has_expression(each) for each in values):
            insert_many(connection, rows.model, fields, values)
        else:
            _execute_insertion(rows, fields, values)


def _insert_unkeyed(
    connection: BaseDatabaseWrapper, rows: IdentityMap, entries: Sequence[Entry]
) -> None:
    """Insert rows whose primary keys the database chooses, and note these."""
    pk, fields = rows.info.pk, rows.info.fields
    columns = _written_columns(rows)
    # Unless it is an AutoField, its default is the database's own.
    has_default = not isinstance(pk, models.AutoField)
    if has_default:
        fields = [pk, *fields]
    for some in _parts(connection, entries, fields):
        values = [
            (
                *([rows.unkeyed.get(entry)] if has_default else ()),
                *_values(columns, entry),
            )
            for entry in some
        ]
        found = _execute_insertion(rows, fields, values, [pk])
        for entry, returned in zip(some, found, strict=True):
            rows.keyed(entry, returned[0])


def _parts(
    connection: BaseDatabaseWrapper, entries: Sequence[Entry], fields: Sequence[Field]
) -> Iterator[Sequence[Entry]]:
    """Yield as many rows at a time as a statement can have values for."""
    at_once = max(1, most_parameters(connection) // max(1, len(fields)))
    return in_parts(connection, entries, at_once, lambda entry: entry.current)


def _execute_insertion(
    rows: IdentityMap,
    fields: list[Field],
    values: Sequence[tuple[Any, ...]],
    returned: list[Field] | None = None,
) -> Any:
    query = sql.InsertQuery(rows.model)
    objects: list[Any] = [_Values(fields, each) for each in values]
    query.insert_values(fields, objects, raw=True)
    compiler: Any = query.get_compiler(using=rows.unit.using)
    try:
        return compiler.execute_sql(returned)
    except ValueError as error:
        for each in values:
            for field, value in zip(fields, each, strict=True):
                if names_columns(value):
                    raise _not_there(field, value) from error
        raise


def _not_there(field: Field, value: Any) -> ValueError:
    return ValueError(
        f"{field.model.__name__}.{field.name} of a new row is {value}, which is about "
        "columns of a row that is not there yet; assign a value, or write the row "
        "first, by self.refresh_rows()"
    )


def _written_columns(rows: IdentityMap) -> list[tuple[int, Column]]:
    return [
        (index, column)
        for index, column in enumerate(rows.columns)
        if not rows.instances.is_read_only(index)
    ]


def _values(columns: Iterable[tuple[int, Column]], entry: Entry) -> list[Any]:
    """Return a row's values of these columns, as they are given to the database."""
    current = entry.current
    return [
        current[index] if column.thaw is None else column.thaw(current[index])
        for index, column in columns
    ]


def _has_expression(values: Iterable[Any]) -> bool:
    return any(hasattr(value, "resolve_expression") for value in values)


def _update(
    connection: BaseDatabaseWrapper,
    rows: IdentityMap,
    indexes: tuple[int, ...],
    entries: Sequence[Entry],
) -> None:
    columns = [(index, rows.columns[index]) for index in indexes]
    fields = [column.field for _, column in columns]
    plain: list[tuple[Entry, list[Any]]] = []
    others: list[tuple[Entry, list[Any]]] = []
    can_be_plain = can_write_many(connection, fields)
    for entry in entries:
        values = _values(columns, entry)
        is_plain = can_be_plain and not _has_expression(values)
        (plain if is_plain else others).append((entry, values))
    if plain:
        count = update_many(
            connection, rows.model, fields, [(e.pk, *values) for e, values in plain]
        )
        if count < len(plain):
            raise _gone(rows, [entry for entry, _ in plain])
    for entry, values in others:
        names = [field.name for field in fields]
        if not (
            _all(rows)
            .filter(pk=entry.pk)
            .update(**dict(zip(names, values, strict=True)))
        ):
            raise _gone(rows, [entry])


def _gone(rows: IdentityMap, entries: Iterable[Entry]) -> DatabaseError:
    gone = None
    for entry in entries:
        if not _all(rows).filter(pk=entry.pk).exists():
            gone = entry.pk
            break
    return DatabaseError(
        f"{rows.model.__name__} {gone!r} was changed after it had been deleted by "
        "another statement"
    )
