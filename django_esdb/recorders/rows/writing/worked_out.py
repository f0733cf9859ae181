"""What the database has made of expressions in rows that are in hand."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Value

from django_esdb.recorders.rows.identity_map import IdentityMap
from django_esdb.recorders.rows.values.columns import frozen_values


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
            frozen = frozen_values(rows.columns, values)
            for index, (name, value) in enumerate(zip(names, values, strict=True)):
                if _is_expression(entry.current[index]):
                    entry.current[index] = entry.stored[index] = frozen[index]
                    remembered[name] = value


def _is_expression(value: Any) -> bool:
    # To assign a value once more makes no difference; that of JSON's null would.
    return hasattr(value, "resolve_expression") and not isinstance(value, Value)
