"""
A model's columns: how their values are kept, handed out, and settled.

Between events rows are only in memory, where nothing rounds a number, turns a value
into the column's type or refuses it. So what a handler assigns is settled when its
event ends: it becomes what the database would give back, or the database is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import DatabaseDefault

from django_esdb.db.fields import Field, is_djangos, target_of
from django_esdb.db.vendors import rounds_decimals, sorts_json_keys
from django_esdb.recorders.rows.values.frozen import Opaque, Settled, Trust, thawed
from django_esdb.recorders.rows.values.frozen import frozen as freeze
from django_esdb.recorders.rows.values.json_values import JSONValues, is_kept
from django_esdb.recorders.rows.values.normalising import (
    integers,
    is_not_stored,
    settler,
)

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

    __slots__ = (
        *("_codec", "_connection", "_settle", "attname", "field", "freeze"),
        *("integers", "is_compared_otherwise", "is_own", "is_rewritten", "thaw"),
    )

    def __init__(self, field: Field, connection: BaseDatabaseWrapper) -> None:
        self.field = field
        self.attname = field.attname
        target = target_of(field)
        # None where values are immutable and kept as they are.
        self.freeze: Callable[[Any], Any] | None = None
        self.thaw: Callable[[Any], Any] | None = None
        self._codec: JSONValues | None = None
        self._connection = connection
        self._settle = settler(target, connection)
        # Whether code of others says what is stored, and what is read.
        self.is_own = self._settle is None and not is_djangos(type(target))
        # Tells of a value whether saving it again may change what is stored.
        self.is_rewritten = self._rewriting(target)
        # Those that are taken as they are; None if it has no integers.
        self.integers = integers(target, connection)
        # Whether the database may take values for the same that are different here.
        self.is_compared_otherwise = has_collation(target) or isinstance(
            target, models.JSONField
        )
        if isinstance(target, models.FileField):
            # Of a file only the name is in the column, and none is left open.
            self.freeze, self.thaw = _name, thawed
        elif type(target) is models.BinaryField:
            # A view of bytes is the same as these, and cannot be kept.
            self.freeze, self.thaw = _bytes, thawed
        elif isinstance(target, models.JSONField) and self._settle is not None:
            self._codec = JSONValues(target, sorts_json_keys(connection))
            self.freeze, self.thaw = self._codec.freeze, self._codec.thaw
        elif self._settle is None:
            self.freeze, self.thaw = freeze, thawed

    def _rewriting(self, target: Field) -> Callable[[Any], bool] | None:
        if self.is_own:
            return _always
        if isinstance(target, models.DecimalField) and not rounds_decimals(
            self._connection
        ):
            # It was rounded when it was read.
            return _always
        # What is read as None may be the null of JSON.
        return _is_none if isinstance(target, models.JSONField) else None

    def settle(self, value: Any, frozen: Any = None) -> Settled:
        """
        Return a changed value, frozen, as the database would give it back.

        Args:
            value: The value.
            frozen: The same frozen, if that is known.
        """
        if self._codec is not None and is_kept(frozen):
            return self._codec.settle_frozen(value, frozen)
        if type(value) not in _USUAL:
            if value is None:
                return None, Trust.CERTAIN if self.field.null else Trust.DOUBTFUL
            if hasattr(value, "resolve_expression"):
                is_default = isinstance(value, DatabaseDefault)
                return value, Trust.COMPUTED if is_default else Trust.DOUBTFUL
        if self._settle is None:
            frozen = freeze(value) if self.freeze is None else self.freeze(value)
            return frozen, Trust.DOUBTFUL
        try:
            return self._settle(value)
        except (ValidationError, TypeError, ValueError, ArithmeticError):
            # The database, or Django on the way to it, says what is wrong.
            frozen = value if self.freeze is None else freeze(value)
            return frozen, Trust.DOUBTFUL

    def normalised(self, key: Any) -> Any:
        """
        Return a key as the field's values are.

        Raises:
            ValidationError: It is none; or what a query raises then.
        """
        value, trust = self.settle(key)
        if trust is Trust.CERTAIN:
            return value
        try:
            value = self.field.to_python(key)
        except ValidationError:
            # A query says so in another way.
            self.field.get_prep_value(key)
            raise
        if isinstance(value, bytearray | memoryview):
            # No key of a dictionary as long as it can be written to.
            return bytes(value)
        return self._as_stored(value) if self.is_own and value is not None else value

    def sought(self, key: Any) -> Any:
        """
        Return a key as :meth:`normalised`, but such that it finds what a query finds.

        Raises:
            ValidationError: It is none.
        """
        value = self.normalised(key)
        if type(value) is Decimal:
            field: Any = target_of(self.field)
            exact = field.to_python(key)
            # Most databases round what they store, and not what it is compared with.
            if exact != value and value != Decimal(
                field.get_db_prep_value(exact, self._connection)
            ):
                return exact
        return value

    def _as_stored(self, value: Any) -> Any:
        """Return what is read of a value that is stored, as far as Python tells."""
        field: Any = target_of(self.field)
        connection, column = self._connection, field.cached_col
        stored = field.get_db_prep_value(value, connection)
        for convert in (
            *connection.ops.get_db_converters(column),
            *column.get_db_converters(connection),
        ):
            stored = convert(stored, column, connection)
        return stored


def frozen_values(columns: Sequence[Column], values: Iterable[Any]) -> list[Any]:
    """Return what is kept of a row's values, one for each column, in their order."""
    return [
        value if value is None or column.freeze is None else column.freeze(value)
        for column, value in zip(columns, values, strict=True)
    ]


def has_collation(field: Any) -> bool:
    """Return whether a field's texts are compared by rules of its own."""
    field = target_of(field)
    return bool(getattr(field, "db_collation", None)) or type(
        field
    ).__name__.startswith("CI")


def _always(value: Any) -> bool:
    return True


def _is_none(value: Any) -> bool:
    return value is None


def _bytes(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview | bytearray) else freeze(value)


def _name(file: Any) -> Any:
    if is_not_stored(file):
        return Opaque(file)
    return None if file is None else str(file)
