"""Writing what changed: a statement for each model and set of fields."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.vendors import (
    can_upsert,
    checks_references_at_once,
    upsert_target,
)
from django_esdb.private import all_parameters
from django_esdb.recorders.rows.entries import Entry, ModelInfo
from django_esdb.recorders.rows.identity_map import IdentityMap


def write(
    connection: BaseDatabaseWrapper, tables: Sequence[IdentityMap], *, everything: bool
) -> list[tuple[IdentityMap, list[Entry]]]:
    """
    Write deleted, changed and new rows of these tables.

    Args:
        connection: Of the transaction.
        tables: Their order does not matter.
        everything: Whether to look at all rows; else at those handed out since
            they were last looked at.

    Returns:
        Rows with values that only the database can tell, to be read again.

    Raises:
        DatabaseError: The database refuses something, or a changed row is not
            there any more.
    """
    ordered = _referenced_first(tables)
    computed: list[tuple[IdentityMap, list[Entry]]] = []
    for table in ordered:
        table.resolve_increments()
    with all_parameters(connection):
        for table in reversed(ordered):
            _write_deleted(table)
        steps = [_write_changed, _write_new]
        # Then what references point to comes first. Elsewhere that waits, and unique
        # values may be handed on.
        if checks_references_at_once(connection):
            steps.reverse()
        for step in steps:
            for table in ordered:
                entries = (
                    [*table.entries.values(), *table.unkeyed]
                    if everything
                    else table.touched()
                )
                written = step(connection, table, entries)
                again = [entry for entry in written if entry.is_computed]
                if again:
                    computed.append((table, again))
                table.normalizer.seen(written)
    for table in ordered:
        table.written()
    return computed


def _referenced_first(tables: Sequence[IdentityMap]) -> list[IdentityMap]:
    by_model = {table.model: table for table in tables}
    ordered: dict[IdentityMap, None] = {}

    def visit(table: IdentityMap, path: tuple[IdentityMap, ...]) -> None:
        if table in ordered or table in path:
            return
        for model in table.info.referenced:
            if model in by_model:
                visit(by_model[model], (*path, table))
        ordered[table] = None

    for table in tables:
        visit(table, ())
    return list(ordered)


def _write_deleted(table: IdentityMap) -> None:
    if table.deleted:
        rows = table.model._base_manager.using(table.unit.using)
        rows.filter(pk__in=table.deleted).delete()
        table.deleted.clear()


def _write_new(
    connection: BaseDatabaseWrapper, table: IdentityMap, entries: Iterable[Entry]
) -> list[Entry]:
    new = [entry for entry in entries if entry.loaded is None]
    if not new:
        return new
    rows = table.model._base_manager.using(table.unit.using)
    rows.bulk_create([entry.instance for entry in new])
    for entry in new:
        entry.mark_clean(table.info)
        entry.is_computed = _is_computed(table.info, entry)
    for entry in table.unkeyed:
        table.entries[entry.pk] = entry
    table.unkeyed.clear()
    return new


def _write_changed(
    connection: BaseDatabaseWrapper, table: IdentityMap, entries: Iterable[Entry]
) -> list[Entry]:
    info = table.info
    groups: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.loaded is None or not info.changed_fields(
            entry.instance, entry.loaded
        ):
            continue
        # Such as the time of the last change.
        for field in info.fields:
            field.pre_save(entry.instance, False)
        changed = info.changed_fields(entry.instance, entry.loaded)
        groups[tuple(field.name for field in changed)].append(entry)
    for names, group in groups.items():
        _check_still_there(table, group)
        _update(connection, table, names, group)
        for entry in group:
            stale = entry.stale
            entry.mark_clean(info)
            entry.stale = stale
            entry.is_computed = _is_computed(info, entry)
    return [entry for group in groups.values() for entry in group]


def _is_computed(info: ModelInfo, entry: Entry) -> bool:
    return info.has_generated or info.has_expressions(entry.instance)


def _update(
    connection: BaseDatabaseWrapper,
    table: IdentityMap,
    names: tuple[str, ...],
    group: Sequence[Entry],
) -> None:
    rows = table.model._base_manager.using(table.unit.using)
    instances = [entry.instance for entry in group]
    is_computed = any(table.info.has_expressions(instance) for instance in instances)
    if is_computed or not can_upsert(
        connection, has_other_unique=table.info.has_other_unique
    ):
        rows.bulk_update(instances, names)
        return
    with _kept_creation_times(table.info, instances):
        rows.bulk_create(
            instances,
            update_conflicts=True,
            update_fields=names,
            unique_fields=upsert_target(connection),
        )


def _check_still_there(table: IdentityMap, group: Sequence[Entry]) -> None:
    """An upsert would bring back a row that somebody else has deleted."""
    stale = {entry.pk for entry in group if entry.stale}
    if not stale:
        return
    rows = table.model._base_manager.using(table.unit.using)
    gone = stale - set(rows.filter(pk__in=stale).values_list("pk", flat=True))
    if gone:
        msg = (
            f"{table.model.__name__} {next(iter(gone))!r} was changed after it had "
            "been deleted by another statement"
        )
        raise DatabaseError(msg)


@contextmanager
def _kept_creation_times(
    info: ModelInfo, instances: Sequence[models.Model]
) -> Iterator[None]:
    """An upsert takes each row for a new one and would set the times anew."""
    attnames = [f.attname for f in info.fields if getattr(f, "auto_now_add", False)]
    kept: list[dict[str, Any]] = [
        {name: instance.__dict__[name] for name in attnames} for instance in instances
    ]
    try:
        yield
    finally:
        if attnames:
            for instance, values in zip(instances, kept, strict=True):
                instance.__dict__.update(values)
