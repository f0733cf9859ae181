"""What the database has made of expressions in rows that are in hand."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Value

from django_esdb.recorders.rows.identity_map import IdentityMap


def fill_in(rows: IdentityMap) -> None:
    """
    Give instances what was worked out of the expressions that they had.

    So each counts once, and database defaults are there, as after ``save()``. What else
    a handler has assigned stays as it is.

    Args:
        rows: A model's rows; those that are in hand were taken back and written.
    """
    unit = rows.unit
    unfilled = {
        entry.pk: entry
        for entry in rows.in_hand
        if entry.is_computed
        and entry.stored is not None
        and any(map(_is_expression, entry.current))
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
                if not _is_expression(entry.current[index]):
                    continue
                kept = (
                    value
                    if value is None or column.freeze is None
                    else column.freeze(value)
                )
                entry.current[index] = entry.stored[index] = kept
                remembered[column.attname] = value


def _is_expression(value: Any) -> bool:
    # To assign a value once more makes no difference; that of JSON's null would.
    return hasattr(value, "resolve_expression") and not isinstance(value, Value)
