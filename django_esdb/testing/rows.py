"""Rows of read models, as tests expect and compare them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.db.models.expressions import Expression, Value

Row = dict[str, Any]
Model = type[models.Model]

_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Tables:
    """
    What models' tables have in them.

    Attributes:
        rows: For each model its rows, by attribute and in the order of their keys.
    """

    rows: dict[Model, list[Row]]

    @classmethod
    def read(cls, read_models: Iterable[Model], using: str) -> Tables:
        """Read all rows; one query for each model."""
        return cls({model: _rows(model, using) for model in read_models})

    def comparable(self) -> Tables:
        """
        Return the rows without what differs from run to run.

        These are times of creation and change, and keys that the database chooses:
        they and what refers to them become numbers that begin at 1.
        """
        numbers = {
            model: {row[_key(model)]: number for number, row in enumerate(rows, 1)}
            for model, rows in self.rows.items()
            if isinstance(model._meta.pk, models.AutoField)
        }
        return Tables(
            {
                model: [_comparable(model, row, numbers) for row in rows]
                for model, rows in self.rows.items()
            }
        )


class Expected:
    """
    The rows that a test expects.

    Args:
        rows: Instances, whose fields all count, except for those that nothing is known
            of: keys and times that are not set, and what the database computes. Or for
            a model its rows, as mappings of the fields that count. Each model that is
            named is to have these rows and no other.

    Raises:
        ValueError: A model has no such field, or a value is none of its field.
    """

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows: dict[Model, list[Row]] = {}
        for row in rows:
            if isinstance(row, models.Model):
                self.rows.setdefault(type(row), []).append(_known(row))
            elif isinstance(row, Mapping):
                for model, listed in row.items():
                    mine = self.rows.setdefault(model, [])
                    mine += [_named(model, each) for each in listed]
            else:
                msg = f"expected rows are instances, or mappings by model, not {row!r}"
                raise TypeError(msg)

    def differences(self, found: Tables) -> list[str]:
        """Return how what was found differs from it, a line for each thing."""
        return [
            line
            for model, rows in self.rows.items()
            for line in _differences(model, rows, found.rows[model])
        ]


def table_differences(
    first: Tables, other: Tables, first_name: str, other_name: str
) -> list[str]:
    """Return how the rows of two runs differ, a line for each thing."""
    return [
        line
        for model, rows in first.rows.items()
        for line in _differences(
            model, rows, other.rows[model], (first_name, other_name)
        )
    ]


def shown(value: object) -> str:
    """Return a value as it stands in a message."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _rows(model: Model, using: str) -> list[Row]:
    names = [field.attname for field in model._meta.concrete_fields]
    return list(model._base_manager.using(using).order_by("pk").values(*names))


def _key(model: Model) -> str:
    pk = model._meta.pk
    assert pk is not None
    return pk.attname


def _comparable(model: Model, row: Row, numbers: dict[Model, dict[Any, int]]) -> Row:
    found = dict(row)
    for field in model._meta.concrete_fields:
        if _is_of_the_moment(field):
            del found[field.attname]
            continue
        target = model if field.primary_key else field.related_model
        if target in numbers:
            value = found[field.attname]
            found[field.attname] = numbers[target].get(value, value)
    return found


def _is_of_the_moment(field: Any) -> bool:
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return True
    # What the database computes, such as Now().
    computed = field.db_default
    return isinstance(computed, Expression) and not isinstance(computed, Value)


def _known(instance: models.Model) -> Row:
    known: Row = {}
    for field in instance._meta.concrete_fields:
        value = instance.__dict__.get(field.attname)
        if isinstance(value, Expression) or field.generated:
            continue
        is_unset = value is None and (field.primary_key or _is_of_the_moment(field))
        if field.attname in instance.__dict__ and not is_unset:
            known[field.attname] = _converted(field, value)
    return known


def _named(model: Model, values: Mapping[str, Any]) -> Row:
    known: Row = {}
    for name, value in values.items():
        try:
            field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
        except FieldDoesNotExist:
            field = None
        if field is None or not field.concrete:
            names = ", ".join(each.name for each in model._meta.concrete_fields)
            msg = f"{model.__name__} has no field {name}; it has {names}"
            raise ValueError(msg)
        key = value.pk if isinstance(value, models.Model) else value
        known[field.attname] = _converted(field, key)
    return known


def _converted(field: Any, value: Any) -> Any:
    """Return a value as it comes from the database."""
    while field.is_relation:
        field = field.target_field
    try:
        return field.to_python(value)
    except ValidationError as error:
        msg = f"{field.model.__name__}.{field.name} cannot be {value!r}: {error}"
        raise ValueError(msg) from None


def _differences(
    model: Model,
    expected: list[Row],
    found: list[Row],
    names: tuple[str, str] = ("expected", "found"),
) -> Iterator[str]:
    missing = list(expected)
    others = []
    for row in found:
        same = next((each for each in missing if _is_same(each, row)), None)
        if same is None:
            others.append(row)
        else:
            missing.remove(same)
    key, label = _key(model), model._meta.label
    for row in list(missing):
        other = _counterpart(row, others, key)
        if other is None:
            continue
        missing.remove(row)
        others.remove(other)
        for name, value in row.items():
            if name not in other or other[name] != value:
                place = f"{label} {key}={shown(other.get(key))}, {name}"
                theirs = shown(other.get(name))
                yield f"{place}: {names[0]} {shown(value)}, {names[1]} {theirs}"
    for row in missing:
        yield f"{label}: {names[0]} alone: {_shown_row(row)}"
    for row in others:
        yield f"{label}: {names[1]} alone: {_shown_row(row)}"


def _is_same(expected: Row, row: Row) -> bool:
    return all(name in row and row[name] == value for name, value in expected.items())


def _counterpart(row: Row, others: list[Row], key: str) -> Row | None:
    """Return the row of the same key, or what has most in common where it has none."""
    if key in row:
        return next((each for each in others if each.get(key) == row[key]), None)
    alike = [
        (sum(each.get(name) == value for name, value in row.items()), each)
        for each in others
    ]
    best = max(alike, key=lambda each: each[0], default=(0, None))
    return best[1] if best[0] else None


def _shown_row(row: Row) -> str:
    return (
        "(" + ", ".join(f"{name}={shown(value)}" for name, value in row.items()) + ")"
    )
