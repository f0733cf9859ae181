"""How far projections have come, as the database says, while a command runs them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections

from django_esdb.leases.tracked import TrackedProjection
from django_esdb.management.progress import Shown
from django_esdb.registry import Registration

# Batches are committed more often; this is a query for each projection.
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class ProjectionProgress:
    """How far projections have come, with all of them as one."""

    phase: str
    events: int
    fraction: float | None


@contextmanager
def projections_shown(
    shown: Shown, phase: str, registrations: Sequence[Registration]
) -> Iterator[None]:
    """
    Show how far projections are while the block runs them.

    The database is asked in a thread of its own, by each process. The part that is
    done is that of the positions up to where the events end, as a worker measures it,
    or to where a rebuild is over.

    Args:
        shown: What shows it.
        phase: What is done to them.
        registrations: The projections.
    """
    if shown.is_silent:
        yield
        return
    look = _Look(phase, [each.tracked() for each in registrations])
    with suppress(DatabaseError):
        # What is there before the block has done something.
        look.progress()
    ended = threading.Event()

    def follow() -> None:
        try:
            while not ended.wait(_LOOK_SECONDS):
                try:
                    shown.report(look.progress())
                except DatabaseError:
                    # Who runs them says what is wrong.
                    connections.close_all()
        finally:
            connections.close_all()

    thread = threading.Thread(target=follow, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Look:
    def __init__(self, phase: str, tracked: Sequence[TrackedProjection]) -> None:
        self._phase = phase
        self._tracked = tracked
        # Where each was at first, and how many events it had processed.
        self._first: dict[TrackedProjection, tuple[int, int]] = {}
        # When it was measured last before, after which there may be much more by now.
        self._measured_at: dict[TrackedProjection, Any] = {}

    def progress(self) -> ProjectionProgress:
        """Ask the database."""
        events = 0
        parts: list[float | None] = []
        for tracked in self._tracked:
            row = tracked.queryset().select_related("lag").first()
            if row is None:
                parts.append(None)
                continue
            now = row.position or 0, row.processed
            first = self._first.setdefault(tracked, now)
            if now < first:
                # It has started over.
                self._first[tracked] = first = 0, 0
            events += row.processed - first[1]
            lag = getattr(row, "lag", None)
            measured_at = None if lag is None else lag.measured_at
            is_old = measured_at == self._measured_at.setdefault(tracked, measured_at)
            parts.append(_part(now[0], first[0], _end(row, is_old=is_old)))
        return ProjectionProgress(self._phase, events, _mean(parts))


def _end(row: Any, *, is_old: bool) -> int | None:
    """Return where a projection will have caught up, None if that is not known now."""
    if row.is_replaying:
        return int(row.replay_until)
    lag = getattr(row, "lag", None)
    if lag is None or is_old or lag.unknown_since is not None:
        return None
    return lag.head  # type: ignore[no-any-return]


def _part(position: int, first: int, end: int | None) -> float | None:
    if end is None:
        return None
    if position >= end:
        return 1.0
    return (position - first) / (end - first)


def _mean(parts: Sequence[float | None]) -> float | None:
    known = [each for each in parts if each is not None]
    return sum(known) / len(known) if known and len(known) == len(parts) else None
