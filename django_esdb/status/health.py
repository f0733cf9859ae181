"""Whether projections are healthy, for probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from django_esdb.models import OWNED_STATES
from django_esdb.status.status import ProjectionStatus, local, projection_statuses


@dataclass(frozen=True)
class Health:
    """
    Whether a projection is healthy.

    Attributes:
        status: What it is at.
        problem: Why it is not healthy, in a few words without what is stored; empty if
            it is.
        store_away_since: Since when the event store cannot be asked, which is nothing
            that the projection could be blamed for; None if it can.
    """

    status: ProjectionStatus
    problem: str
    store_away_since: datetime | None

    @property
    def is_healthy(self) -> bool:
        """Whether a process runs it, and it has caught up or moves."""
        return not self.problem

    @property
    def is_ready(self) -> bool:
        """Whether it is healthy, and the event store is there."""
        return self.is_healthy and self.store_away_since is None

    @property
    def unready(self) -> str:
        """Why it is not ready, in a few words; empty if it is."""
        if self.problem or self.store_away_since is None:
            return self.problem
        return f"the event store cannot be asked since {_time(self.store_away_since)}"


def projection_health(
    names: Sequence[str] = (), *, max_behind: float, max_idle: float
) -> list[Health]:
    """
    Return how registered projections are; one query for each database.

    A projection is healthy that has a live owner, and is not far behind or has moved
    not long ago. While the event store cannot be asked, none has to move.

    Args:
        names: Which; all if there is none.
        max_behind: How many seconds one may be behind that does not move.
        max_idle: How many seconds ago one that is further behind may have moved last.

    Raises:
        django.db.Error: A database cannot be used.
    """
    now = timezone.now()
    return [
        _health(each, now, max_behind, max_idle)
        for each in projection_statuses()
        if each.is_registered and (not names or each.projection in names)
    ]


def _health(
    status: ProjectionStatus, now: datetime, max_behind: float, max_idle: float
) -> Health:
    lag = status.lag
    if status.state not in OWNED_STATES:
        return Health(status, f"{status.state}: no process runs it", lag.unknown_since)
    problem = ""
    if not _is_near(status, max_behind) and lag.unknown_since is None:
        problem = _standstill(status, now, max_idle)
    return Health(status, problem, lag.unknown_since)


def _is_near(status: ProjectionStatus, max_behind: float) -> bool:
    lag = status.lag
    # What was measured long ago may be much more by now.
    return lag.is_current and lag.seconds is not None and lag.seconds <= max_behind


def _standstill(status: ProjectionStatus, now: datetime, max_idle: float) -> str:
    """Return that it does not move, and how far it is behind; empty if it moves."""
    moved_at = status.updated_at
    if moved_at is not None and (now - moved_at).total_seconds() <= max_idle:
        return ""
    lag = status.lag
    if lag.seconds is None or not lag.is_current:
        behind = "it is not known how far behind"
    else:
        behind = f"{lag.seconds:.0f} s behind"
    moved = "never moved" if moved_at is None else f"not moved since {_time(moved_at)}"
    return f"{status.state}: {behind}, and {moved}"


def _time(value: datetime) -> str:
    return f"{local(value):%Y-%m-%d %H:%M:%S}"
