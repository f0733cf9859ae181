"""
What one transaction for each event would have done at an event's end.

Between events a row is only in memory, where nothing rounds a number, turns a
value into the column's type or refuses it. Normalizer a row after each event
makes a batch leave what single transactions would leave: values become what
the database would give back, and where it might refuse what the row is now,
it is asked at once.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import NotSupportedError, models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.vendors import ignores_case, limits_texts, rounds_decimals
from django_esdb.recorders.rows.entries import Entry, ModelInfo

# What values of these fields are when they come from the database.
_TYPES: tuple[tuple[type[models.Field[Any, Any]], type], ...] = (
    (models.CharField, str),
    (models.TextField, str),
    (models.IntegerField, int),
    (models.UUIDField, UUID),
    (models.BooleanField, bool),
    (models.FloatField, float),
    (models.DecimalField, Decimal),
    (models.DateTimeField, datetime),
    (models.DateField, date),
)


class ReplayNeeded(Exception):  # noqa: N818  (no error: it asks for another way)
    """
    Only single transactions can tell whether an earlier state was allowed.

    A row was given a unique value or a reference that the database has not
    seen, and has lost it again.
    """


class Normalizer:
    """
    Settles rows of one model.

    Args:
        shape: The model's.
        connection: Whose database the rows are for.
    """

    def __init__(self, info: ModelInfo, connection: BaseDatabaseWrapper) -> None:
        self._ignores_case = ignores_case(connection)
        self._fields = [_Limits(field, connection) for field in info.fields]
        self._groups = info.unique_groups
        self._references = info.references
        # Which row has which unique values, as far as is known here.
        self._holders: dict[tuple[int, Any], Entry] = {}
        self._held: dict[Entry, tuple[Any, ...]] = {}
        # What rows are given that the database has not seen.
        self._unseen: dict[Entry, tuple[Any, ...]] = {}

    def loaded(self, entry: Entry) -> bool:
        """Note a row from the database; return whether to ask it at once."""
        return bool(self._groups) and self._hold(entry, self._unique_values(entry))

    def normalize(self, entry: Entry) -> bool:
        """
        Make a row's values what the database would give back.

        Returns:
            Whether the database has to be asked now whether it takes them.

        Raises:
            ReplayNeeded: It should have been asked earlier.
            NotSupportedError: Its primary key was changed.
        """
        if entry.loaded is not None and entry.instance.pk not in (None, entry.pk):
            msg = (
                f"The primary key of {type(entry.instance).__name__} {entry.pk!r} was "
                "changed; delete the row and add another one"
            )
            raise NotSupportedError(msg)
        values = entry.instance.__dict__
        doubtful = False
        for limits in self._fields:
            value = values.get(limits.attname)
            if type(value) is not limits.type or limits.has_range:
                doubtful |= limits.normalize(values, value)
        if self._groups or self._references:
            doubtful |= self._note_changes(entry)
        return doubtful

    def seen(self, entries: list[Entry]) -> None:
        """Note that the database has taken these rows as they are."""
        for entry in entries:
            self._unseen.pop(entry, None)

    def forget(self, entry: Entry) -> None:
        """
        Forget a row that is deleted.

        Raises:
            ReplayNeeded: The database has not seen what it was.
        """
        if self._unseen.pop(entry, None) is not None:
            raise ReplayNeeded
        self._release(entry)

    def _note_changes(self, entry: Entry) -> bool:
        unique_values = self._unique_values(entry)
        referred = tuple(entry.instance.__dict__.get(name) for name in self._references)
        now = (unique_values, referred)
        before = self._unseen.get(entry)
        if before is not None:
            if before != now:
                raise ReplayNeeded
            return False
        if (
            entry.loaded is not None
            and self._held.get(entry) == unique_values
            and referred == entry.referred
        ):
            return False
        self._unseen[entry] = now
        return self._hold(entry, unique_values)

    def _hold(self, entry: Entry, unique_values: tuple[Any, ...]) -> bool:
        """Return whether another row has one of the values."""
        self._release(entry)
        self._held[entry] = unique_values
        clashes = False
        for number, value in enumerate(unique_values):
            if value is not None:
                holder = self._holders.setdefault((number, value), entry)
                clashes |= holder is not entry
        return clashes

    def _release(self, entry: Entry) -> None:
        for number, value in enumerate(self._held.pop(entry, ())):
            if self._holders.get((number, value)) is entry:
                del self._holders[number, value]

    def _unique_values(self, entry: Entry) -> tuple[Any, ...]:
        values = entry.instance.__dict__
        return tuple(
            self._comparable(tuple(values.get(name) for name in group))
            for group in self._groups
        )

    def _comparable(self, values: tuple[Any, ...]) -> Any:
        if None in values:
            # NULL is equal to nothing.
            return None
        if self._ignores_case:
            return tuple(
                value.casefold() if isinstance(value, str) else value
                for value in values
            )
        return values


class _Limits:
    """What a field's column would do to a value."""

    __slots__ = (
        "attname",
        "connection",
        "field",
        "has_range",
        "high",
        "is_required",
        "low",
        "max_length",
        "type",
    )

    def __init__(
        self, field: models.Field[Any, Any], connection: BaseDatabaseWrapper
    ) -> None:
        target: Any = field
        while isinstance(target, models.ForeignKey):
            target = target.target_field
        self.field = field
        self.attname = field.attname
        self.connection = connection
        self.type = next((t for cls, t in _TYPES if isinstance(target, cls)), None)
        # Times of creation and change are put in when the row is written.
        self.is_required = not (
            field.null
            or getattr(field, "auto_now", False)
            or getattr(field, "auto_now_add", False)
        )
        self.low = self.high = None
        if self.type is int:
            self.low, self.high = connection.ops.integer_field_range(
                target.get_internal_type()
            )
        self.max_length = None
        if self.type is str and limits_texts(connection):
            self.max_length = getattr(target, "max_length", None)
        self.has_range = (
            self.low is not None or self.max_length is not None or self.type is Decimal
        )

    def normalize(self, values: dict[str, Any], value: Any) -> bool:
        """Settle a value in place; return whether the database may refuse it."""
        if value is None:
            return self.is_required
        if self.type is None or hasattr(value, "resolve_expression"):
            return False
        if type(value) is not self.type:
            try:
                value = values[self.attname] = self.field.to_python(value)
            except (ValidationError, TypeError, ValueError):
                return True
        if self.type is Decimal:
            return self._normalize_decimal(values, value)
        if self.max_length is not None:
            return bool(len(value) > self.max_length)
        return bool(
            (self.low is not None and value < self.low)
            or (self.high is not None and value > self.high)
        )

    def _normalize_decimal(self, values: dict[str, Any], value: Decimal) -> bool:
        field: Any = self.field
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int):
            return True
        if -exponent > field.decimal_places:
            if rounds_decimals(self.connection):
                # As the server does; elsewhere Django rounds.
                unit = Decimal(1).scaleb(-field.decimal_places)
                value = value.quantize(unit, ROUND_HALF_UP)
            else:
                value = Decimal(field.get_db_prep_save(value, self.connection))
            values[self.attname] = value
        whole_digits: int = field.max_digits - field.decimal_places
        return abs(value) >= Decimal(10) ** whole_digits
