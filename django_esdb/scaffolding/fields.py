"""Which of an event's values a new read model has a field for."""

from __future__ import annotations

import keyword
import types
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Union, get_args, get_origin
from uuid import UUID

from django.conf import settings
from django.db import models

from django_esdb.events.aggregate_events import begins, field_names, type_hints
from django_esdb.scaffolding.plan import Plan

_FIELDS: dict[Any, str] = {
    str: "TextField",
    int: "BigIntegerField",
    float: "FloatField",
    bool: "BooleanField",
    UUID: "UUIDField",
    date: "DateField",
}
_OWN = ("id", "pk", "version")


@dataclass(frozen=True, slots=True)
class ModelField:
    """
    A field of the model, of the same name as a value of events.

    Attributes:
        name: Its name.
        definition: What the model's class assigns.
    """

    name: str
    definition: str


def model_fields(plan: Plan) -> dict[str, ModelField]:
    """
    Return fields, by name, for what the events that begin an aggregate say.

    Left out is what no field of a plain type can have.
    """
    first = [event for event in plan.events if begins(event)]
    found: dict[str, list[tuple[str, bool] | None]] = {}
    for event in first:
        hints = type_hints(event)
        for name in field_names(event):
            found.setdefault(name, []).append(_kind(hints.get(name)))
    fields = {}
    for name, kinds in found.items():
        known = {kind[0] for kind in kinds if kind is not None}
        if None in kinds or len(known) != 1 or not _can_be_a_name(name):
            continue
        is_optional = len(kinds) < len(first) or any(
            kind is not None and kind[1] for kind in kinds
        )
        arguments = "null=True" if is_optional else ""
        fields[name] = ModelField(name, f"models.{known.pop()}({arguments})")
    return fields


def kept_values(plan: Plan, event: type) -> list[str]:
    """Return which values of an event the model has a field of their type for."""
    fields = model_fields(plan)
    hints = type_hints(event)
    kept = []
    for name in field_names(event):
        kind = _kind(hints.get(name))
        if kind is None or name not in fields:
            continue
        definition = fields[name].definition
        can_be_none = "null=True" in definition
        if f".{kind[0]}(" in definition and (can_be_none or not kind[1]):
            kept.append(name)
    return kept


def id_field(plan: Plan) -> str:
    """Return the definition of the primary key, which is the aggregate's ID."""
    if plan.events[0].originator_id_type is str:
        return "models.CharField(primary_key=True, max_length=255)"
    return "models.UUIDField(primary_key=True)"


def _kind(hint: Any) -> tuple[str, bool] | None:
    """Return a field's class, and whether it may be None; None if there is none."""
    is_optional = False
    if get_origin(hint) in (Union, types.UnionType):
        others = [each for each in get_args(hint) if each is not type(None)]
        is_optional = len(others) < len(get_args(hint))
        hint = others[0] if len(others) == 1 else None
    if hint is datetime and settings.USE_TZ:
        return "DateTimeField", is_optional
    # Not every type can be a key.
    name = _FIELDS.get(hint) if isinstance(hint, type) else None
    return None if name is None else (name, is_optional)


def _can_be_a_name(name: str) -> bool:
    return not (
        name in _OWN
        or keyword.iskeyword(name)
        or hasattr(models.Model, name)
        or name == "objects"
        or name.startswith("_")
        or name.endswith("_")
        or "__" in name
    )
