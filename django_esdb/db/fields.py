"""A model's field, whatever it takes and gives, and what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    Field = models.Field[Any, Any]
else:
    # Generic for type checkers only.
    Field = models.Field


# By name, since those of PostgreSQL take its driver.
_CHANGEABLE = frozenset(("JSONField", "ArrayField", "HStoreField"))


def target_of(field: Any) -> Field:
    """Return the field whose values a field has: what foreign keys lead to."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    plain: Field = field
    return plain


def has_changeable_values(field: Any) -> bool:
    """Return whether values are lists and the like, which are no keys in memory."""
    kinds = type(target_of(field)).__mro__
    return not _CHANGEABLE.isdisjoint(kind.__name__ for kind in kinds)


def is_djangos(what: Any) -> bool:
    """Return whether a class or a function is of Django itself."""
    return str(what.__module__).startswith("django.")


def names_columns(value: Any) -> bool:
    """Return whether a value is an expression that is about columns of its row."""
    if isinstance(value, models.F):
        return not isinstance(value, models.OuterRef)
    sources = getattr(value, "get_source_expressions", None)
    return sources is not None and any(map(names_columns, sources()))
