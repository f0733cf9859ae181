"""Events that take longer than the database waits for the next statement."""

from __future__ import annotations

import math
from time import monotonic

from django_esdb.conf import settings
from django_esdb.db.errors import Cause, cause_of
from django_esdb.leases.lease import Lease


class EventClock:
    """
    Tells whether the database has ended a transaction while an event was computed.

    It does so after half the lease's time without a statement, since the process may
    be suspended. Such an event is processed again alone, with as much time as
    ``ESDB_EVENT_SECONDS`` gives it.

    Attributes:
        position: Of the event that is being processed, or was the last one.
    """

    def __init__(self) -> None:
        self.position: int | None = None
        self._began = monotonic()

    def begin(self, position: int) -> None:
        """Note that an event begins."""
        self.position, self._began = position, monotonic()

    def was_too_slow(self, error: BaseException, lease: Lease | None) -> bool:
        """Return whether an error is of a transaction that has waited too long."""
        if lease is None or self.position is None:
            return False
        cause = cause_of(error)
        # MariaDB only ends the connection. It counts in whole seconds.
        shortest = max(1, math.floor(lease.seconds / 2))
        is_late = monotonic() - self._began >= shortest
        return cause is Cause.IDLE or (cause is Cause.OUTAGE and is_late)


def idle_seconds(lease: Lease | None, *, is_slow: bool) -> float | None:
    """Return how long a transaction may wait for a statement; None without a limit."""
    if lease is None:
        return None
    usual = lease.seconds / 2
    return max(usual, settings.ESDB_EVENT_SECONDS) if is_slow else usual
