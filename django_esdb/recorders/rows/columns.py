"""
A model's columns: how their values are kept, handed out, and settled.

Between events rows are only in memory, where nothing rounds a number, turns a value
into the column's type or refuses it. So what a handler assigns is settled when its
event ends: it becomes what the database would give back, or the database is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import DatabaseDefault

from django_esdb.db.fields import Field
from django_esdb.db.vendors import sorts_json_keys
from django_esdb.recorders.rows.frozen import Settled, Trust, thawed
from django_esdb.recorders.rows.frozen import frozen as freeze
from django_esdb.recorders.rows.json_values import JSONValues
from django_esdb.recorders.rows.normalising import integers, settler

# Neither nothing nor an expression.
_USUAL = frozenset((int, str, list, dict, float, bool, Decimal, UUID))


class Column:
    """
    One field of a model on one database.

    A value is kept frozen, so that it cannot be changed in place.

    Args:
        field: The field.
        connection: Whose database the column is in.
    """

    __slots__ = ("_codec", "_settle", "attname", "field", "freeze", "integers", "thaw")

    def __init__(self, field: Field, connection: BaseDatabaseWrapper) -> None:
        self.field = field
        self.attname = field.attname
        target = _target(field)
        # None where values are immutable and kept as they are.
        self.freeze: Callable[[Any], Any] | None = None
        self.thaw: Callable[[Any], Any] | None = None
        self._codec: JSONValues | None = None
        self._settle = settler(target, connection)
        # Those that are taken as they are; None if it has no integers.
        self.integers = integers(target, connection)
        if isinstance(target, models.FileField):
            # Of a file only the name is in the column.
            self.freeze = _name
        elif isinstance(target, models.JSONField) and self._settle is not None:
            self._codec = JSONValues(target, sorts_json_keys(connection))
            self.freeze, self.thaw = self._codec.freeze, self._codec.thaw
        elif self._settle is None:
            self.freeze, self.thaw = freeze, thawed

    def settle(self, value: Any, frozen: Any = None) -> Settled:
        """
        Return a changed value, frozen, as the database would give it back.

        Args:
            value: The value.
            frozen: The same frozen, if that is known.
        """
        if self._codec is not None and type(frozen) is bytes:
            return self._codec.settle_frozen(value, frozen)
        if type(value) not in _USUAL:
            if value is None:
                return None, Trust.CERTAIN if self.field.null else Trust.DOUBTFUL
            if hasattr(value, "resolve_expression"):
                is_default = isinstance(value, DatabaseDefault)
                return value, Trust.COMPUTED if is_default else Trust.DOUBTFUL
        if self._settle is None:
            return freeze(value), Trust.DOUBTFUL
        try:
            return self._settle(value)
        except (ValidationError, TypeError, ValueError, ArithmeticError):
            # The database, or Django on the way to it, says what is wrong.
            frozen = value if self.freeze is None else freeze(value)
            return frozen, Trust.DOUBTFUL


def _target(field: Any) -> Field:
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    plain: Field = field
    return plain


def _name(file: Any) -> Any:
    return None if file is None else str(file)
