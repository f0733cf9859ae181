"""Moments as people write them down and read them."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

_LARGE_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_since(text: str) -> datetime:
    """
    Return the moment that a text means, in some time zone.

    Args:
        text: A date, a date with a time, in the project's time zone unless it says
            another one, or how long ago: ``30s``, ``15m``, ``2h``, ``7d``, ``1w``.

    Raises:
        ValueError: It is none of these.
    """
    ago = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    with suppress(ValueError, OverflowError):
        if ago:
            # With a zone also where USE_TZ is False: events' times have one.
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = parse_datetime(text)
        if moment is None and (day := parse_date(text)):
            moment = datetime(day.year, day.month, day.day)
        if moment is not None:
            return moment if moment.tzinfo else timezone.make_aware(moment)
    msg = f"{text!r} is no time, such as 2026-11-26T09:30, and no time ago, such as 2h"
    raise ValueError(msg)


def exact_time(value: datetime | None) -> str:
    """
    Return a moment in the project's time zone with its microseconds; ``-`` for None.

    Neither shortened nor by language, so that it can be compared and searched for.
    """
    if value is None:
        return "-"
    return f"{_local(value):%Y-%m-%d %H:%M:%S.%f %Z}".rstrip()


def time_text(value: datetime | None) -> str:
    """Return a moment in the current time zone to the second; ``-`` for None."""
    if value is None:
        return "-"
    return f"{_local(value):%Y-%m-%d %H:%M:%S %Z}".rstrip()


def _local(value: datetime) -> datetime:
    # Where USE_TZ is False, the database's have no zone, and are in the project's.
    return timezone.localtime(value) if timezone.is_aware(value) else value


def in_largest_unit(seconds: float) -> tuple[int, str]:
    """Return a number of seconds in its largest unit, rounded, and that unit."""
    for size, unit in _LARGE_UNITS:
        if seconds >= size:
            return round(seconds / size), unit
    return round(seconds), "s"


def duration(seconds: float) -> str:
    """Return a number of seconds in its largest unit, without a fraction."""
    count, unit = in_largest_unit(seconds)
    return f"{count} {unit}"
