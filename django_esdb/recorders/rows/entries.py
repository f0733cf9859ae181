"""One loaded row, and how its changes are found."""

from __future__ import annotations

import pickle
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from django.db import models
from django.db.utils import NotSupportedError

_IMMUTABLE = frozenset(
    (
        type(None),
        bool,
        int,
        float,
        str,
        bytes,
        UUID,
        Decimal,
        date,
        datetime,
        time,
        timedelta,
    )
)


_Unique = models.UniqueConstraint


class ModelInfo:
    """
    What the unit of work has to know of a model; one for each, kept.

    Raises:
        NotSupportedError: Rows of the model lie in several tables, or its
            primary key is of several fields.
    """

    def __init__(self, model: type[models.Model]) -> None:
        meta = model._meta
        concrete = meta.concrete_model
        assert concrete is not None
        if any(parent is not concrete for parent in concrete._meta.parents):
            msg = (
                f"rows({model.__name__}) is not possible: the model inherits from "
                "another one with a table of its own; use its manager"
            )
            raise NotSupportedError(msg)
        if model is not concrete:
            msg = (
                f"rows({model.__name__}) is not possible: the model is a proxy; "
                f"use rows({concrete.__name__})"
            )
            raise NotSupportedError(msg)
        if len(getattr(meta, "pk_fields", (meta.pk,))) > 1:
            msg = (
                f"rows({model.__name__}) is not possible: the primary key has "
                "several fields; use the model's manager"
            )
            raise NotSupportedError(msg)
        self.model = model
        self.pk = meta.pk
        self.fields = [
            field
            for field in meta.concrete_fields
            if not field.primary_key and not getattr(field, "generated", False)
        ]
        self.has_generated = len(self.fields) + 1 < len(meta.concrete_fields)
        self.attnames = [field.attname for field in self.fields]
        # Deleting such a row may delete or change others.
        self.has_dependents = any(
            relation.on_delete is not models.DO_NOTHING
            for relation in meta.get_fields(include_hidden=True)
            if isinstance(relation, models.ForeignObjectRel)
            and hasattr(relation, "on_delete")
        ) or any(hasattr(f, "bulk_related_objects") for f in meta.private_fields)
        # A row may be told from another by more than its primary key. What an
        # expression says of rows is not known here.
        self.unique_groups: list[tuple[str, ...]] = [
            (field.attname,) for field in self.fields if field.unique
        ]
        attname_of: dict[str, str] = {f.name: f.attname for f in meta.concrete_fields}
        for names in (
            *meta.unique_together,
            *(c.fields for c in meta.constraints if isinstance(c, _Unique) if c.fields),
        ):
            self.unique_groups.append(tuple(attname_of[name] for name in names))
        self.has_other_unique = bool(self.unique_groups) or any(
            isinstance(constraint, _Unique) for constraint in meta.constraints
        )
        self.references = [
            field.attname
            for field in self.fields
            if isinstance(field, models.ForeignKey)
        ]
        self.referenced = {
            field.related_model
            for field in self.fields
            if isinstance(field, models.ForeignKey)
        }

    def snapshot(self, instance: models.Model) -> list[Any]:
        """Return the fields' values such that later changes do not reach them."""
        values = instance.__dict__
        return [_frozen(values.get(attname)) for attname in self.attnames]

    def has_expressions(self, instance: models.Model) -> bool:
        """Return whether a value is one that only the database can work out."""
        return any(
            hasattr(value, "resolve_expression") for value in instance.__dict__.values()
        )

    def is_computed(self, entry: Entry) -> bool:
        """Return whether only the database can tell what the row is by now."""
        if self.has_generated and (
            entry.loaded is None or self.changed_fields(entry.instance, entry.loaded)
        ):
            return True
        return self.has_expressions(entry.instance)

    def changed_fields(
        self, instance: models.Model, loaded: list[Any]
    ) -> list[models.Field[Any, Any]]:
        """Return the fields whose values are not those of the snapshot."""
        values = instance.__dict__
        return [
            field
            for field, attname, before in zip(
                self.fields, self.attnames, loaded, strict=True
            )
            if not _same(before, _frozen(values.get(attname)))
        ]


@cache
def model_info(model: type[models.Model]) -> ModelInfo:
    """Return the model's shape; there are as many as there are models."""
    return ModelInfo(model)


class Entry:
    """
    A row in the unit of work.

    Attributes:
        pk: The row's primary key; None as long as the database has to choose it.
        instance: The row's only instance in this unit.
        loaded: Its values in the database; None for one that is not there yet.
        referred: The keys that its references had there.
        stale: Whether somebody else may have changed it in the database.
        is_computed: Whether it has values that only the database can tell.
    """

    __slots__ = ("instance", "is_computed", "loaded", "pk", "referred", "stale")

    def __init__(self, instance: models.Model) -> None:
        self.pk: Any = None
        self.instance = instance
        self.loaded: list[Any] | None = None
        self.referred: tuple[Any, ...] = ()
        self.stale = False
        self.is_computed = False

    def mark_clean(self, info: ModelInfo) -> None:
        """Note that the row is in the database as it is here."""
        self.pk = self.instance.pk
        self.loaded = info.snapshot(self.instance)
        values = self.instance.__dict__
        self.referred = tuple(values.get(name) for name in info.references)
        self.stale = self.is_computed = False


def _frozen(value: Any) -> Any:
    if type(value) in _IMMUTABLE:
        return value
    if isinstance(value, memoryview):
        return bytes(value)
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError):
        # Equal to nothing, so that the value counts as changed.
        return object()


def _same(before: Any, now: Any) -> bool:
    # 1 == True, which JSON tells apart.
    return before is now or (type(before) is type(now) and before == now)
