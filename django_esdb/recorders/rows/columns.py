"""
What a column does to values: which one the database would give back.

Between events rows are only in memory, where nothing rounds a number, turns a value
into the column's type or refuses it. Here is said what the database makes of a value,
where that is certain; elsewhere the database is asked.
"""

from __future__ import annotations

import datetime
import marshal
import math
import pickle
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from enum import IntEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import DatabaseDefault

from django_esdb.db.vendors import (
    limits_decimal_digits,
    limits_texts,
    may_lack_long_characters,
    rounds_decimals,
    sorts_json_keys,
)

if TYPE_CHECKING:
    Field = models.Field[Any, Any]
else:
    Field = models.Field


class Trust(IntEnum):
    """
    How much is known of what the database will give back.

    Attributes:
        CERTAIN: The value is known.
        COMPUTED: It will be taken, and is known when the row is read again.
        DOUBTFUL: The database may refuse or change it, so it is asked at once.
    """

    CERTAIN = 0
    COMPUTED = 1
    DOUBTFUL = 2


Settled = tuple[Any, Trust]

# As many as a double keeps.
_EXACT_DIGITS = 15
_WIDEST = 2**63 - 1
_EARLIEST_YEAR = 1000
_LONGEST_DURATION = datetime.timedelta(days=365 * 1000)
# Between these PostgreSQL keeps numbers of JSON as they are.
_LEAST_FLOAT = 1e-4
_LARGEST_FLOAT = 1e15


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
        self._codec: _JSON | None = None
        kind = _kind(target)
        if isinstance(target, models.FileField):
            # Of a file only the name is in the column.
            kind, self.freeze = _settle_text, _name
        elif isinstance(target, models.JSONField) and kind is not None:
            self._codec = _JSON(target, sorts_json_keys(connection))
            self.freeze, self.thaw = self._codec.freeze, self._codec.thaw
        elif kind is None:
            self.freeze, self.thaw = _frozen, _thawed
        self._settle = kind(target, connection) if kind is not None else None
        # Those that are taken as they are; None if it has no integers.
        self.integers = (
            _integers(target, connection) if kind is _settle_integer else None
        )

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
            return _frozen(value), Trust.DOUBTFUL
        try:
            return self._settle(value)
        except (ValidationError, TypeError, ValueError, ArithmeticError):
            # The database, or Django on the way to it, says what is wrong.
            frozen = value if self.freeze is None else _frozen(value)
            return frozen, Trust.DOUBTFUL


def same(before: Any, now: Any) -> bool:
    """Return whether two frozen values are alike; 1 and True are not."""
    return before is now or (type(before) is type(now) and before == now)


def are_same(before: list[Any], now: list[Any]) -> bool:
    """Return whether two rows' frozen values are alike."""
    return all(map(same, before, now))


def _target(field: Any) -> Field:
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    plain: Field = field
    return plain


def _frozen(value: Any) -> Any:
    if value is None or hasattr(value, "resolve_expression"):
        return value
    try:
        return _Pickled(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    except (pickle.PicklingError, TypeError, AttributeError):
        # Like nothing else, so that the value counts as changed.
        return _Opaque(value)


def _thawed(frozen: Any) -> Any:
    return frozen.value() if isinstance(frozen, _Pickled | _Opaque) else frozen


def _name(file: Any) -> Any:
    return None if file is None else str(file)


class _Pickled(bytes):
    def value(self) -> Any:
        return pickle.loads(self)  # noqa: S301  (made here, of what was in memory)


class _Opaque:
    def __init__(self, value: Any) -> None:
        self._value = value

    def value(self) -> Any:
        return self._value


class _JSON:
    """Keeps a JSONField's values marshalled, which is fast."""

    def __init__(self, field: Any, is_sorted: bool) -> None:
        self._is_own = field.encoder is not None or field.decoder is not None
        self._is_sorted = is_sorted

    def freeze(self, value: Any) -> Any:
        if value is None or hasattr(value, "resolve_expression"):
            return value
        try:
            return marshal.dumps(value, _PLAIN_FORMAT)
        except ValueError:
            return _Opaque(value)

    def thaw(self, frozen: Any) -> Any:
        if type(frozen) is bytes:
            return marshal.loads(frozen)  # noqa: S302  (made here, of what was in memory)
        return _thawed(frozen)

    def settle(self, value: Any) -> Settled:
        return self.settle_frozen(value, self.freeze(value))

    def settle_frozen(self, value: Any, frozen: Any) -> Settled:
        if self._is_own or not _is_plain_json(value):
            return frozen, Trust.DOUBTFUL
        if self._is_sorted and _OBJECT in frozen:
            frozen = self.freeze(_as_jsonb_keeps_it(value))
        return frozen, Trust.CERTAIN


# A format without references, in which equal values have equal bytes.
_PLAIN_FORMAT = 2
# What a marshalled dictionary begins with.
_OBJECT = b"{"


def _is_plain_json(value: Any) -> bool:
    """
    Return whether every database gives back just this value.

    PostgreSQL makes whole numbers of large floats and has no negative zero; some
    databases refuse infinities, NUL and half a surrogate pair.
    """
    kind = type(value)
    if kind is str:
        return bool(value.isascii() and "\0" not in value) or _is_plain_text(value)
    if kind is list:
        return all(map(_is_plain_json, value))
    if kind is dict:
        return all(type(key) is str and _is_plain_text(key) for key in value) and all(
            map(_is_plain_json, value.values())
        )
    if kind is float:
        return _LEAST_FLOAT < abs(value) < _LARGEST_FLOAT or repr(value) == "0.0"
    return kind in (int, bool, type(None))


def _is_plain_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _as_jsonb_keeps_it(value: Any) -> Any:
    """Return a value with its keys in PostgreSQL's order: by length, then by bytes."""
    if type(value) is list:
        return [_as_jsonb_keeps_it(item) for item in value]
    if type(value) is dict:
        return {
            key: _as_jsonb_keeps_it(value[key])
            for key in sorted(value, key=_jsonb_order)
        }
    return value


def _jsonb_order(key: str) -> tuple[int, bytes]:
    encoded = key.encode()
    return len(encoded), encoded


def _settle_text(
    field: Any, connection: BaseDatabaseWrapper
) -> Callable[[Any], Settled]:
    is_narrow = may_lack_long_characters(connection)
    longest = field.max_length if limits_texts(connection) else None

    def settle(value: Any) -> Settled:
        if isinstance(field, models.FileField):
            value = str(value)
        elif not isinstance(value, str):
            value = field.to_python(value)
        # Members of an enumeration, and marked strings, come back as plain ones.
        text = str.__str__(value)
        if "\0" in text or (longest is not None and len(text) > longest):
            return text, Trust.DOUBTFUL
        if not text.isascii():
            # Half a surrogate pair is no text, and MySQL's columns may have
            # characters of three bytes only.
            text.encode()
            if is_narrow and max(text) > "\uffff":
                return text, Trust.DOUBTFUL
        return text, Trust.CERTAIN

    return settle


def _integers(field: Any, connection: BaseDatabaseWrapper) -> range:
    operations: Any = connection.ops  # a bound may be None
    low, high = operations.integer_field_range(field.get_internal_type())
    # No database has wider ones without saying so.
    return range(
        -_WIDEST if low is None else low, 1 + (_WIDEST if high is None else high)
    )


def _settle_integer(
    field: Any, connection: BaseDatabaseWrapper
) -> Callable[[Any], Settled]:
    taken = _integers(field, connection)

    def settle(value: Any) -> Settled:
        number = int(field.to_python(value))
        return number, Trust.CERTAIN if number in taken else Trust.DOUBTFUL

    return settle


def _settle_decimal(
    field: Any, connection: BaseDatabaseWrapper
) -> Callable[[Any], Settled]:
    unit = Decimal(1).scaleb(-field.decimal_places)
    limit = Decimal(10) ** (field.max_digits - field.decimal_places)
    is_server_rounding = rounds_decimals(connection)
    is_short = limits_decimal_digits(connection)

    def settle(value: Any) -> Settled:
        number: Decimal = field.to_python(value)
        if not number.is_finite():
            return number, Trust.DOUBTFUL
        if is_server_rounding:
            number = number.quantize(unit, ROUND_HALF_UP)
        else:
            number = Decimal(field.get_db_prep_save(number, connection)).quantize(unit)
        digits = len(number.as_tuple().digits)
        if abs(number) >= limit or (is_short and digits > _EXACT_DIGITS):
            return number, Trust.DOUBTFUL
        if number.is_zero() and number.is_signed():
            number = abs(number)
        return number, Trust.CERTAIN

    return settle


def _settle_float(
    field: Any, connection: BaseDatabaseWrapper
) -> Callable[[Any], Settled]:
    def settle(value: Any) -> Settled:
        number = float(field.to_python(value))
        is_plain = math.isfinite(number) and (number or math.copysign(1, number) > 0)
        return number, Trust.CERTAIN if is_plain else Trust.DOUBTFUL

    return settle


def _settle_datetime(
    field: Any, connection: BaseDatabaseWrapper
) -> Callable[[Any], Settled]:
    def settle(value: Any) -> Settled:
        if type(value) is not datetime.datetime or value.year < _EARLIEST_YEAR:
            return value, Trust.DOUBTFUL
        if (value.tzinfo is not None) is not settings.USE_TZ:
            return value, Trust.DOUBTFUL
        if value.tzinfo is not None:
            value = value.astimezone(connection.timezone)
        return value, Trust.CERTAIN

    return settle


def _settle_date(
    field: Any, connection: BaseDatabaseWrapper
) -> Callable[[Any], Settled]:
    def settle(value: Any) -> Settled:
        day = field.to_python(value)
        is_plain = type(day) is datetime.date and day.year >= _EARLIEST_YEAR
        return day, Trust.CERTAIN if is_plain else Trust.DOUBTFUL

    return settle


def _settle_time(
    field: Any, connection: BaseDatabaseWrapper
) -> Callable[[Any], Settled]:
    def settle(value: Any) -> Settled:
        time = field.to_python(value)
        is_plain = type(time) is datetime.time and time.tzinfo is None and not time.fold
        return time, Trust.CERTAIN if is_plain else Trust.DOUBTFUL

    return settle


def _settle_duration(
    field: Any, connection: BaseDatabaseWrapper
) -> Callable[[Any], Settled]:
    def settle(value: Any) -> Settled:
        duration = field.to_python(value)
        is_plain = abs(duration) < _LONGEST_DURATION
        return duration, Trust.CERTAIN if is_plain else Trust.DOUBTFUL

    return settle


def _settle_uuid(
    field: Any, connection: BaseDatabaseWrapper
) -> Callable[[Any], Settled]:
    def settle(value: Any) -> Settled:
        key = field.to_python(value)
        return key, Trust.CERTAIN if type(key) is UUID else Trust.DOUBTFUL

    return settle


def _settle_boolean(
    field: Any, connection: BaseDatabaseWrapper
) -> Callable[[Any], Settled]:
    def settle(value: Any) -> Settled:
        flag = field.to_python(value)
        return flag, Trust.CERTAIN if type(flag) is bool else Trust.DOUBTFUL

    return settle


def _settle_json(
    field: Any, connection: BaseDatabaseWrapper
) -> Callable[[Any], Settled]:
    return _JSON(field, sorts_json_keys(connection)).settle


Maker = Callable[[Any, BaseDatabaseWrapper], Callable[[Any], Settled]]

# By the exact class or one of these that only validates more; what another subclass
# does to values is not known here.
_KINDS: dict[type[Field], Maker] = {
    models.CharField: _settle_text,
    models.TextField: _settle_text,
    models.SlugField: _settle_text,
    models.EmailField: _settle_text,
    models.URLField: _settle_text,
    models.IntegerField: _settle_integer,
    models.SmallIntegerField: _settle_integer,
    models.BigIntegerField: _settle_integer,
    models.PositiveIntegerField: _settle_integer,
    models.PositiveSmallIntegerField: _settle_integer,
    models.PositiveBigIntegerField: _settle_integer,
    models.AutoField: _settle_integer,
    models.SmallAutoField: _settle_integer,
    models.BigAutoField: _settle_integer,
    models.DecimalField: _settle_decimal,
    models.FloatField: _settle_float,
    models.BooleanField: _settle_boolean,
    models.UUIDField: _settle_uuid,
    models.DateTimeField: _settle_datetime,
    models.DateField: _settle_date,
    models.TimeField: _settle_time,
    models.DurationField: _settle_duration,
    models.JSONField: _settle_json,
}


def _kind(field: Field) -> Maker | None:
    return _KINDS.get(type(field))
