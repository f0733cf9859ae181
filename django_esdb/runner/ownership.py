"""The time in which this process has a projection's lease."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import Error as DatabaseError
from django.db.models import Case, Value, When

from django_esdb.exceptions import EventError, EventHangError, LeaseLostError
from django_esdb.leases.lease import Lease
from django_esdb.models import ProjectionState
from django_esdb.registry import Registration
from django_esdb.runner.renewals import LeaseRenewal
from django_esdb.runner.time_limits.hangs import release_what_hangs
from django_esdb.runner.time_limits.slow_events import EventClock
from django_esdb.status.fingerprints import SEVERAL, fingerprint
from django_esdb.tracebacks import traceback_of
from eventsourcing_eventstoredb.text import one_line


class Ownership:
    """
    A lease that is renewed in the scheduler's thread until it is given back.

    Args:
        lease: The lease, which has just been taken.
        lost: Called in the scheduler's thread when another process has taken over.

    Attributes:
        lease: The lease.
        has_started: Whether the projection has run since the lease was taken.
    """

    def __init__(self, lease: Lease, lost: Callable[[LeaseLostError], None]) -> None:
        self.lease = lease
        self.has_started = False
        self._is_prepared = self._is_abandoned = False
        self._registration: Registration | None = None
        self._renewal = LeaseRenewal(lease, lost)

    def prepare(self, registration: Registration) -> None:
        """
        Write into the row, once, that the projection runs, and by which code.

        Raises:
            django.db.Error: The database cannot be used.
        """
        if self._is_prepared:
            return
        self._registration = registration
        current, row = fingerprint(registration), self.lease.tracked.row()
        if row.position is None:
            self.lease.tracked.queryset().update(fingerprint=current)
        elif row.fingerprint not in ("", current):
            # Unless it is accepted until then.
            is_accepted = When(fingerprint=current, then=Value(current))
            several = Case(is_accepted, default=Value(SEVERAL))
            self.lease.with_next_move = {"fingerprint": several}
        if not self.may_recover:
            self.lease.set_state(ProjectionState.RUNNING)
        self._is_prepared = True

    def note_retry(self, error: Exception, **changes: Any) -> None:
        """Write down why the projection is tried again, if the database is there."""
        if self._is_abandoned:
            return
        with suppress(DatabaseError):
            place = traceback_of(error) if isinstance(error, EventError) else ""
            self.lease.set_state(
                ProjectionState.RETRYING, one_line(error), place, **changes
            )

    def note_standby(self, error: Exception) -> None:
        """Write down what the projection waits for, if the database is there."""
        if not self._is_abandoned:
            with suppress(DatabaseError):
                self.lease.set_state(ProjectionState.STANDING_BY, one_line(error))

    @property
    def may_recover(self) -> bool:
        """Whether the row says that something is or was wrong."""
        return self.lease.is_failing or self.lease.was_resumed

    def note_recovery(self) -> bool:
        """Write down that all is well; return whether something was wrong."""
        was_failing = self.may_recover
        if was_failing:
            self.lease.was_resumed = False
            with suppress(DatabaseError):
                self.lease.set_state(ProjectionState.RUNNING)
        return was_failing

    def abandon(self, clock: EventClock, error: EventHangError) -> None:
        """
        Let another process take over from a thread that hangs.

        Blocks for a while, but not for ever if the database does not answer.
        """
        # A renewal that is under way may wait for that database, too.
        self._renewal.stop(waits=False)
        self._is_abandoned = True
        release_what_hangs(self.lease, clock, error)

    def give_back(
        self, state: ProjectionState, reason: str, traceback: str = ""
    ) -> None:
        """
        Let another process take over; does nothing if one has done so.

        Args:
            state: What the projection is at from now on.
            reason: Why, in one line.
            traceback: Where, if it is code that has failed.
        """
        self._renewal.stop()
        if self._is_abandoned:
            return
        # The next owner finds out, at the latest when the lease is over.
        with suppress(DatabaseError):
            changes = self._paused_by() if state is ProjectionState.PAUSED else {}
            self.lease.release(state, reason, traceback=traceback, **changes)

    def _paused_by(self) -> dict[str, str]:
        """Note which code has given up here, for a standby with other code."""
        if self._registration is None:
            return {}
        row = self.lease.tracked.row()
        known = [*row.pausing_fingerprints(), fingerprint(self._registration)]
        return {"paused_by": f"{row.position}:{' '.join(dict.fromkeys(known))}"}
