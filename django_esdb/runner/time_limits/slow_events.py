"""Which event is being processed, and for how long."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

from eventsourcing.persistence import Notification

from django_esdb.conf import settings
from django_esdb.db.errors import Cause, cause_of
from django_esdb.db.sessions import Session
from django_esdb.leases.lease import Lease
from django_esdb.tracebacks import frame_of


class EventClock:
    """
    Tells how long the event at hand has been processed.

    Begun by the thread that processes events, and read by others, too.

    Whether the database has ended a transaction while an event was computed is told by
    it as well. It does so after half the lease's time without a statement, since the
    process may be suspended. Such an event is processed again alone, with as much time
    as ``ESDB_EVENT_SECONDS`` gives it.

    Attributes:
        notification: The event that is being processed, or was the last one.
        began: When it was begun, by the monotonic clock.
        is_under_way: Whether there is a transaction.
        is_committing: Whether its events are processed, and it is on its way to be
            committed, callbacks of ``on_commit`` included.
        session: In which the transaction is; None if it is not known.
        failed_event: Number of the failed event that is tried again; None for others.
    """

    def __init__(self) -> None:
        self.notification: Notification | None = None
        self.began = monotonic()
        self.is_under_way = self.is_committing = False
        self.session: Session | None = None
        self.failed_event: int | None = None
        self._thread: int | None = None

    @property
    def position(self) -> int | None:
        """Of the event that is being processed, or was the last one."""
        return None if self.notification is None else self.notification.id

    @contextmanager
    def at_an_event(self) -> Iterator[None]:
        """Note that the calling thread processes an event; it is not known which."""
        self.begin_transaction(None, None)
        try:
            yield
        finally:
            self.end()

    def begin_transaction(
        self, notification: Notification | None, session: Session | None
    ) -> None:
        """Note that the calling thread is about to process events, this one first."""
        self.begin(notification)
        self.session = session
        self._thread = threading.get_ident()
        self.is_under_way = True

    def begin_retry(self, pk: int, event: Notification, session: Session) -> None:
        """Note that the calling thread tries a failed event again, in a transaction."""
        self.failed_event = pk
        self.begin_transaction(event, session)

    def begin(self, notification: Notification | None) -> None:
        """Note that an event begins."""
        self.notification, self.began = notification, monotonic()

    def commit(self) -> None:
        """Note that the transaction has all its events."""
        self.is_committing, self.began = True, monotonic()

    def end(self) -> None:
        """Note that the transaction is over."""
        self.is_under_way = self.is_committing = False
        self.session = self.failed_event = None

    def frame(self) -> FrameType | None:
        """Return where the thread that processes events is; None if it has ended."""
        return frame_of(self._thread or 0)

    def was_too_slow(self, error: BaseException, lease: Lease | None) -> bool:
        """Return whether an error is of a transaction that has waited too long."""
        if lease is None or self.notification is None:
            return False
        cause = cause_of(error)
        # MariaDB only ends the connection. It counts in whole seconds.
        shortest = max(1, math.floor(lease.seconds / 2))
        is_late = monotonic() - self.began >= shortest
        return cause is Cause.IDLE or (cause is Cause.OUTAGE and is_late)


def idle_seconds(lease: Lease | None, *, is_slow: bool) -> float | None:
    """Return how long a transaction may wait for a statement; None without a limit."""
    if lease is None:
        return None
    usual = lease.seconds / 2
    return max(usual, settings.ESDB_EVENT_SECONDS) if is_slow else usual
