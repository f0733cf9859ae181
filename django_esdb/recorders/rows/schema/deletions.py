"""What is deleted and changed along with a row, as far as Django tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models

# Those that leave no row which refers to what is not there; the database's own are
# there from Django 6.1 on.
_CASCADING = {models.CASCADE, getattr(models, "DB_CASCADE", models.CASCADE)}
_KEEPING = {
    *(models.SET_NULL, models.PROTECT, models.RESTRICT),
    getattr(models, "DB_SET_NULL", models.SET_NULL),
}


def relations_to(model: type[models.Model]) -> list[Any]:
    """Return the relations by which rows refer to a model's."""
    return [
        relation
        for relation in model._meta.get_fields(include_hidden=True)
        if isinstance(relation, models.ForeignObjectRel)
        and hasattr(relation, "on_delete")
    ]


def taken_along(model: type[models.Model]) -> frozenset[type[models.Model]] | None:
    """
    Return a model with those whose rows are deleted with one of it.

    None if that may leave a row that refers to what is not there.
    """
    found: set[type[models.Model]] = set()
    left = [model]
    while left:
        deleted = left.pop()
        if deleted in found:
            continue
        found.add(deleted)
        left += deleted._meta.parents
        left += _generic_relations_of(deleted)
        for relation in relations_to(deleted):
            if relation.on_delete in _CASCADING:
                left.append(relation.related_model)
            elif relation.on_delete not in _KEEPING and (
                relation.on_delete is not models.DO_NOTHING
                or getattr(relation.field, "db_constraint", False)
            ):
                return None
    return frozenset(found)


def _generic_relations_of(model: type[models.Model]) -> Iterator[type[models.Model]]:
    for field in model._meta.private_fields:
        if hasattr(field, "bulk_related_objects"):
            related: Any = field.related_model
            yield related
