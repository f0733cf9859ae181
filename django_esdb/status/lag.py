"""How far a projection is behind, as its rows tell without the event store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from django_esdb.models import ProjectionLag

# A worker writes every five seconds what has not changed, and each second what has.
_STALE_SECONDS = 15.0
# What a rate is of.
_RATE_SECONDS = 60.0


@dataclass(frozen=True)
class Lag:
    """
    How far a projection is behind.

    Attributes:
        head: Position of the event store's last event; None if it was never asked.
        events: How many events are to be processed; None if that is not known.
        is_exact: Whether it is just so many, and not at least: all were counted, and
            not long ago.
        is_current: Whether the store was asked not long ago.
        seconds: The head's time minus that of the last processed event; 0.0 if nothing
            is left to process; None if one of the times is not known.
        rate: Events a second over the last minute; 0.0 where none runs.
        eta_seconds: How long it takes at this rate until it has caught up; None if it
            does not move.
        measured_at: When the store was last asked; None if never.
        unknown_since: Since when it could not be asked; None if it can be.
    """

    head: int | None = None
    events: int | None = None
    is_exact: bool = False
    is_current: bool = False
    seconds: float | None = None
    rate: float = 0.0
    eta_seconds: float | None = None
    measured_at: datetime | None = None
    unknown_since: datetime | None = None


def lag_of(row: Any, *, is_running: bool) -> Lag:
    """
    Return how far a projection is behind.

    Args:
        row: Of the tracking table, with its ``lag`` selected.
        is_running: Whether a process runs it.
    """
    measured: ProjectionLag | None = getattr(row, "lag", None)
    if measured is None:
        return Lag()
    age = (
        None
        if measured.measured_at is None
        else (timezone.now() - measured.measured_at).total_seconds()
    )
    events = _events(row, measured)
    # Whether it was so when the store was asked.
    was_exact = measured.is_exact or _is_at_head(row, measured)
    is_current = age is not None and age < _STALE_SECONDS
    is_current = is_current and measured.unknown_since is None
    does_move = is_running and age is not None and age < _RATE_SECONDS
    rate = measured.rate if does_move else 0.0
    speed = measured.speed if does_move else 0.0
    return Lag(
        head=measured.head,
        events=events,
        is_exact=was_exact and is_current,
        is_current=is_current,
        seconds=_seconds(row, measured, events if was_exact else None),
        rate=rate,
        eta_seconds=_eta(row, measured, events if was_exact else None, rate, speed),
        measured_at=measured.measured_at,
        unknown_since=measured.unknown_since,
    )


def _is_at_head(row: Any, measured: ProjectionLag) -> bool:
    if row.position is None or measured.head is None:
        return False
    return bool(row.position >= measured.head)


def _events(row: Any, measured: ProjectionLag) -> int | None:
    if _is_at_head(row, measured):
        return 0
    if measured.total is None:
        return None
    return max(measured.total - int(row.processed), 0)


def _seconds(row: Any, measured: ProjectionLag, exactly: int | None) -> float | None:
    if exactly == 0:
        return 0.0
    known = [each for each in (row.event_time, measured.reached_time) if each]
    if not known or measured.head_time is None:
        return None
    return max((measured.head_time - max(known)).total_seconds(), 0.0)


def _eta(
    row: Any,
    measured: ProjectionLag,
    exactly: int | None,
    rate: float,
    speed: float,
) -> float | None:
    if exactly == 0:
        return 0.0
    if exactly is not None and rate > 0:
        return exactly / rate
    if measured.head is None or row.position is None or speed <= 0:
        return None
    return float(max(measured.head - row.position, 0) / speed)
