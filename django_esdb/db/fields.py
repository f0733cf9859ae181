"""The type of a model's field, whatever it takes and gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    Field = models.Field[Any, Any]
else:
    # Generic for type checkers only.
    Field = models.Field


def is_djangos(what: Any) -> bool:
    """Return whether a class or a function is of Django itself."""
    return str(what.__module__).startswith("django.")
