"""Which rows are there that references lead to, as the database tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Model, QuerySet

from django_esdb.recorders.rows.protocols import KnownRows, Work
from django_esdb.recorders.rows.schema.model_info import Reference


class Targets:
    """
    Remembers what references were found to lead to.

    Args:
        unit: The unit of work.
        maps: What it knows of each model's rows.
    """

    def __init__(self, unit: Work, maps: Mapping[type[Model], KnownRows]) -> None:
        self._unit = unit
        self._maps = maps
        self._found: set[tuple[Reference, Any]] = set()

    def exists(self, reference: Reference, value: Any) -> bool:
        """Return whether a reference leads to a row; asks the database if need be."""
        rows = self._maps.get(reference.target)
        if rows is not None and reference.target_attname == rows.info.pk.attname:
            entry = rows.entries.get(value)
            if entry is not None and not rows.is_outdated(entry):
                return True
        if (reference, value) in self._found:
            return True
        if self._has_pending(reference.target):
            self._unit.write()
        is_there = self._is_there(reference.target, reference.target_attname, value)
        if is_there:
            self._found.add((reference, value))
        return is_there

    def is_there(self, model: type[Model], pk: Any) -> bool:
        """Return whether the database has a row."""
        return self._is_there(model, "pk", pk)

    def forget(self) -> None:
        """Trust nothing that was found before."""
        self._found.clear()

    def _has_pending(self, target: type[Model]) -> bool:
        """Return whether something of a table, by whichever model, is not written."""
        return any(
            model._meta.db_table == target._meta.db_table
            and (rows.dirty or rows.deleted or rows.unkeyed)
            for model, rows in self._maps.items()
        )

    def _is_there(self, model: type[Model], attname: str, value: Any) -> bool:
        with self._unit.own_statements():
            found: QuerySet[Any] = QuerySet(model, using=self._unit.using)
            return found.filter(**{attname: value}).exists()
