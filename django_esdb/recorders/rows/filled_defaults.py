"""What new rows that are in hand get from the database when they are inserted."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.expressions import DatabaseDefault

from django_esdb.recorders.rows.identity_map import IdentityMap


def fill_defaults(rows: IdentityMap) -> None:
    """
    Give instances the defaults that the database has chosen, as ``save()`` does.

    Only these: what else a handler has assigned stays as it is.

    Args:
        rows: A model's rows; those that are in hand were taken back and written.
    """
    unit = rows.unit
    if not unit.connection.features.can_return_columns_from_insert:
        # Nor does save().
        return
    unfilled = {
        entry.pk: entry
        for entry in rows.in_hand
        if entry.is_computed
        and entry.stored is not None
        and any(isinstance(value, DatabaseDefault) for value in entry.current)
    }
    if not unfilled:
        return
    names = [column.attname for column in rows.columns]
    with unit.own_statements():
        found: Any = (
            models.QuerySet(rows.model, using=unit.using)
            .filter(pk__in=list(unfilled))
            .values_list("pk", *names)
        )
        for pk, *values in found:
            entry = unfilled[pk]
            remembered = entry.instance.__dict__
            assert entry.stored is not None
            for index, (column, value) in enumerate(
                zip(rows.columns, values, strict=True)
            ):
                if not isinstance(entry.current[index], DatabaseDefault):
                    continue
                kept = (
                    value
                    if value is None or column.freeze is None
                    else column.freeze(value)
                )
                entry.current[index] = entry.stored[index] = kept
                remembered[column.attname] = value
