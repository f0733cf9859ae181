"""The type of a model's field, whatever it takes and gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    Field = models.Field[Any, Any]
else:
    # Generic for type checkers only.
    Field = models.Field
