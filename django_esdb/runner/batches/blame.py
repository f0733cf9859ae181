"""Whether events are to blame for an error, or what they meet."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import Error as DatabaseError
from django.db import connections
from django.db.models import F

from django_esdb.db.connections import close_if_lost
from django_esdb.db.errors import Cause, cause_of, is_transient
from django_esdb.db.vendors import can_skip_locked_rows
from django_esdb.exceptions import (
    ConfigurationError,
    LeaseLostError,
    PositionMovedError,
)
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.policies import FailurePolicy
from django_esdb.subscriptions.received import ReceivedEvent


class Blame:
    """
    Decides whether to look for a failing event among those of a transaction.

    Args:
        tracked: Whose events they are; its row is written to see that it can be.
        policy: Counts what may pass, beyond a term's end.
    """

    def __init__(self, tracked: TrackedProjection, policy: FailurePolicy) -> None:
        self._tracked = tracked
        self._policy = policy

    def falls_on(
        self,
        events: Sequence[ReceivedEvent],
        error: BaseException,
        *,
        is_searching: bool,
        has_lock: bool = False,
        is_beginning: bool = False,
    ) -> bool:
        """
        Return whether an error is about these events; asks the database.

        So it is for several events that have met locks again and again: in smaller
        parts those before the lock need not wait for it, and may not meet it at all.

        Args:
            events: What was to be processed in one transaction, which is undone.
            error: What it failed with.
            is_searching: Whether more events have failed before, these among them.
            has_lock: Whether a handler has raised it, in a transaction that had begun
                to write: where there is one lock for all, no other process had it then.
            is_beginning: Whether no handler was called yet in the transaction, which
                moves the position first.
        """
        if error is events[0].error and not is_transient(error):
            return True
        if isinstance(error, ConfigurationError | LeaseLostError | PositionMovedError):
            return False
        cause = cause_of(error)
        if cause is Cause.EVENT:
            return not (is_beginning and isinstance(error, DatabaseError))
        if cause is Cause.IDLE:
            return False
        if cause is Cause.LOCK and not (has_lock or self._has_row_locks()):
            # Smaller parts would wait for the one lock as well.
            return False
        if not self._can_write():
            return False
        is_alone = len(events) == 1
        if is_searching and not is_alone:
            return True
        count = self._policy.lock if cause is Cause.LOCK else self._policy.outage
        return count(events[0].notification.id, is_alone=is_alone)

    def _has_row_locks(self) -> bool:
        return can_skip_locked_rows(connections[self._tracked.using])

    def _can_write(self) -> bool:
        close_if_lost(connections[self._tracked.using])
        try:
            return bool(self._tracked.queryset().update(token=F("token")))
        except DatabaseError:
            return False
