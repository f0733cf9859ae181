"""Finding the event at which processes end, with few of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from django.db import Error as DatabaseError

from django_esdb.conf import settings
from django_esdb.leases.lease import Lease
from django_esdb.subscriptions.received import ReceivedEvent

# Into so many parts a range of events is cut in which a process has ended. Each further
# end leaves one part: of 500 events 63, then 8, then one.
_PARTS = 8


class CrashSearch:
    """
    Which events are processed together after a process has ended without noting why.

    Each part is noted in the projection's row before it is processed, so the next
    process, if there has to be one, looks in that part alone. What was processed is no
    suspect any more; behind the last suspect events are processed as usual, and so are
    those before an event that is known to be the one.

    Args:
        lease: The projection's, taken over from a process that had not released it.
        events: The first that are to be processed now.
    """

    def __init__(self, lease: Lease, events: Sequence[ReceivedEvent]) -> None:
        self._lease = lease
        first, until = lease.attempted()
        begins_at = events[0].notification.id
        # The one event at which a process has ended.
        self._known: int | None = None
        self._is_before = False
        if first is not None and until is None and first >= begins_at:
            self._known = first
            self._left = suspects = 1
        elif first is None or until is None or first != begins_at:
            # Nothing was noted, so it may have been in any batch of the usual size.
            self._left = max(len(events), settings.ESDB_BATCH_SIZE)
            suspects = len(events)
        else:
            positions = (event.notification.id for event in events)
            suspects = sum(1 for position in positions if position <= until)
            self._left = suspects
        self._size = max(1, -(-suspects // _PARTS))

    @property
    def is_over(self) -> bool:
        """Whether all suspects are processed."""
        return self._left <= 0

    def begin(self, events: Sequence[ReceivedEvent]) -> tuple[int, int]:
        """
        Note what is processed next, in case that never ends.

        Returns:
            How many events that is, and how many processes have ended at them before.

        Raises:
            LeaseLostError: Another process has the lease.
        """
        if self._known is not None:
            positions = (event.notification.id for event in events)
            before = sum(1 for position in positions if position < self._known)
            self._is_before = before > 0
            if self._is_before:
                return before, 0
        size = min(self._size, len(events), self._left)
        last = events[size - 1].notification.id if size > 1 else None
        return size, self._lease.begin_attempt(events[0].notification.id, last)

    def failed(self) -> None:
        """Note that an event has failed in the ordinary way."""
        with suppress(DatabaseError):
            self._lease.forget_attempt()

    def interrupted(self, crashes: int) -> None:
        """Note that what may pass has ended an attempt, as if it had not begun."""
        if not self._is_before:
            with suppress(DatabaseError):
                self._lease.take_back_attempt(crashes)

    def ended(self, count: int) -> None:
        """Note that so many events are processed."""
        if not self._is_before:
            self._left -= count
