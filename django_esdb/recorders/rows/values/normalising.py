"""
Which value the database gives back, by type of field.

Where that is not certain for a value, it is said so, and the database is asked.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files import File
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.fields import Field
from django_esdb.db.vendors import (
    limits_decimal_digits,
    limits_texts,
    may_lack_long_characters,
    rounds_decimals,
    sorts_json_keys,
    zone_of_columns,
)
from django_esdb.recorders.rows.values.frozen import Opaque, Settled, Trust
from django_esdb.recorders.rows.values.json_values import JSONValues

Settler = Callable[[Any], Settled]

# As many as a double keeps.
_EXACT_DIGITS = 15
_WIDEST = 2**63 - 1
_EARLIEST_YEAR = 1000
_LONGEST_DURATION = datetime.timedelta(days=365 * 1000)


def is_not_stored(value: Any) -> bool:
    """Return whether a file has no name yet: whatever it is called, it gets another."""
    return isinstance(value, File) and not getattr(value, "_committed", False)


def _settle_text(field: Any, connection: BaseDatabaseWrapper) -> Settler:
    is_narrow = may_lack_long_characters(connection)
    longest = field.max_length if limits_texts(connection) else None

    def settle(value: Any) -> Settled:
        if isinstance(field, models.FileField):
            if is_not_stored(value):
                return Opaque(value), Trust.DOUBTFUL
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


def integers(field: Any, connection: BaseDatabaseWrapper) -> range | None:
    """Return the numbers that a column takes as they are; None if it has others."""
    if _KINDS.get(type(field)) is not _settle_integer:
        return None
    operations: Any = connection.ops  # a bound may be None
    low, high = operations.integer_field_range(field.get_internal_type())
    # No database has wider ones without saying so.
    return range(
        -_WIDEST if low is None else low, 1 + (_WIDEST if high is None else high)
    )


def _settle_integer(field: Any, connection: BaseDatabaseWrapper) -> Settler:
    taken = integers(field, connection)
    assert taken is not None

    def settle(value: Any) -> Settled:
        number = int(field.to_python(value))
        return number, Trust.CERTAIN if number in taken else Trust.DOUBTFUL

    return settle


def _settle_decimal(field: Any, connection: BaseDatabaseWrapper) -> Settler:
    unit = Decimal(1).scaleb(-field.decimal_places)
    limit = Decimal(10) ** (field.max_digits - field.decimal_places)
    is_server_rounding = rounds_decimals(connection)
    is_short = limits_decimal_digits(connection)

    def settle(value: Any) -> Settled:
        number: Decimal = field.to_python(value)
        if not number.is_finite():
            return number, Trust.DOUBTFUL
        rounded = number.quantize(unit, ROUND_HALF_UP)
        if rounded != number:
            # Some versions of Django round by themselves, and not alike.
            number = Decimal(field.get_db_prep_save(number, connection))
            rounded = number.quantize(unit, ROUND_HALF_UP)
            if rounded != number and not is_server_rounding:
                return number, Trust.DOUBTFUL
        number = rounded
        digits = len(number.as_tuple().digits)
        if abs(number) >= limit or (is_short and digits > _EXACT_DIGITS):
            return number, Trust.DOUBTFUL
        if number.is_zero() and number.is_signed():
            number = abs(number)
        return number, Trust.CERTAIN

    return settle


def _settle_float(field: Any, connection: BaseDatabaseWrapper) -> Settler:
    def settle(value: Any) -> Settled:
        number = float(field.to_python(value))
        is_plain = math.isfinite(number) and (number or math.copysign(1, number) > 0)
        return number, Trust.CERTAIN if is_plain else Trust.DOUBTFUL

    return settle


def _settle_datetime(field: Any, connection: BaseDatabaseWrapper) -> Settler:
    # In which the server takes times that have none; None where it keeps them.
    zone = None if settings.USE_TZ else zone_of_columns(connection)

    def settle(value: Any) -> Settled:
        if type(value) is not datetime.datetime or value.year < _EARLIEST_YEAR:
            return value, Trust.DOUBTFUL
        if (value.tzinfo is not None) is not settings.USE_TZ:
            return value, Trust.DOUBTFUL
        if value.tzinfo is not None:
            value = value.astimezone(connection.timezone)
        elif zone is not None and _is_unclear(value.replace(tzinfo=zone)):
            return value, Trust.DOUBTFUL
        # A column without a zone does not tell the second of an hour that comes twice.
        return value, Trust.DOUBTFUL if value.fold else Trust.CERTAIN

    return settle


def _is_unclear(value: datetime.datetime) -> bool:
    """Return whether there is no such hour, or two of them."""
    return value.utcoffset() != value.replace(fold=1 - value.fold).utcoffset()


def _settle_date(field: Any, connection: BaseDatabaseWrapper) -> Settler:
    def settle(value: Any) -> Settled:
        day = field.to_python(value)
        is_plain = type(day) is datetime.date and day.year >= _EARLIEST_YEAR
        return day, Trust.CERTAIN if is_plain else Trust.DOUBTFUL

    return settle


def _settle_time(field: Any, connection: BaseDatabaseWrapper) -> Settler:
    def settle(value: Any) -> Settled:
        time = field.to_python(value)
        is_plain = type(time) is datetime.time and time.tzinfo is None and not time.fold
        return time, Trust.CERTAIN if is_plain else Trust.DOUBTFUL

    return settle


def _settle_duration(field: Any, connection: BaseDatabaseWrapper) -> Settler:
    def settle(value: Any) -> Settled:
        # Django saves it as it is, and not every database takes a text.
        is_plain = type(value) is datetime.timedelta and abs(value) < _LONGEST_DURATION
        return value, Trust.CERTAIN if is_plain else Trust.DOUBTFUL

    return settle


def _settle_uuid(field: Any, connection: BaseDatabaseWrapper) -> Settler:
    def settle(value: Any) -> Settled:
        key = field.to_python(value)
        return key, Trust.CERTAIN if type(key) is UUID else Trust.DOUBTFUL

    return settle


def _settle_boolean(field: Any, connection: BaseDatabaseWrapper) -> Settler:
    def settle(value: Any) -> Settled:
        flag = field.to_python(value)
        return flag, Trust.CERTAIN if type(flag) is bool else Trust.DOUBTFUL

    return settle


def _settle_json(field: Any, connection: BaseDatabaseWrapper) -> Settler:
    return JSONValues(field, sorts_json_keys(connection)).settle


Maker = Callable[[Any, BaseDatabaseWrapper], Settler]

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


def settler(field: Field, connection: BaseDatabaseWrapper) -> Settler | None:
    """Return what settles a field's values; None if only the database can tell."""
    if isinstance(field, models.FileField):
        return _settle_text(field, connection)
    if isinstance(field, models.DecimalField) and field.decimal_places is None:
        # From Django 6.1 on it may have as many as the database keeps.
        return None
    maker = _KINDS.get(type(field))
    return None if maker is None else maker(field, connection)
