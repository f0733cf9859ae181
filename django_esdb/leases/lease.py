"""
Who runs a projection: one process at a time, wherever processes are.

The lease lies in the row that has the position. It is over at a time by the
database's clock, so no two machines' clocks are compared. Each owner has a
token that is higher than all before; a batch is committed on condition that the
token is still the highest. So a process that was suspended, and comes back when
its lease has been taken over, cannot commit anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db import connections, transaction
from django.utils import timezone

from django_esdb.db.functions import DatabaseTime
from django_esdb.db.guards import limit_idle_transactions
from django_esdb.db.vendors import can_skip_locked_rows
from django_esdb.exceptions import LeaseLostError
from django_esdb.leases.process_identity import is_rebuilder
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import (
    ProjectionState,
    ProjectionTracking,
    ProjectionTrackingQuerySet,
)

# Of the tokens of one row.
_TOKEN_BITS = 32
# Of a row, when no process may have ended because of an event.
NOTHING_ATTEMPTED = {"attempted_position": None, "attempted_until": None}

FAILING = (ProjectionState.RETRYING, ProjectionState.PAUSED)


def next_token(row: ProjectionTracking) -> int:
    """
    Return a token that no owner of the projection has had.

    Nor has one of a row that was there before this one and was deleted: primary keys
    only grow, and each has a range of tokens of its own.
    """
    return max(row.token, (row.pk - 1) << _TOKEN_BITS) + 1


@dataclass(eq=False)
class Lease:
    """
    The right to run a projection, for as long as it is renewed.

    Used by the threads of one process; each statement is safe by itself.

    Attributes:
        tracked: What it is for.
        owner: Who has it.
        token: Fences off earlier owners.
        seconds: How long it lasts from each renewal.
        was_abandoned: Whether the owner before ended without releasing it, so that
            it may have crashed at the next event; unset once that is processed.
        is_failing: Whether the row says that something is wrong, until a batch
            succeeds.
        store_is_away: Whether what is wrong is that nothing can be received: what was
            received before may be processed meanwhile, and does not end that.
        was_resumed: Whether it was paused before, and why is still in the row.
        attempted_position: Of the first event that is noted as begun and not finished;
            None if there is none.
        retry_requested: Whether failed events are to be tried again, as was seen when
            the lease was renewed.
        rebuild_requested: Whether the projection is to be rebuilt, likewise.
        is_build: Whether it is a build's, which does not begin again once aborted.
        with_next_move: Other fields of the row to set when the position is moved next.
    """

    tracked: TrackedProjection
    owner: str
    token: int
    seconds: float
    was_abandoned: bool = False
    is_failing: bool = False
    store_is_away: bool = False
    was_resumed: bool = False
    attempted_position: int | None = None
    retry_requested: bool = field(default=False, init=False)
    rebuild_requested: bool = field(default=False, init=False)
    is_build: bool = field(default=False, init=False)
    with_next_move: dict[str, Any] = field(default_factory=dict, init=False)
    _last_state: tuple[str, str] | None = field(default=None, init=False)

    def expiry(self) -> DatabaseTime:
        """Return when the lease is over, if it is renewed by the statement at hand."""
        return DatabaseTime(self.seconds)

    def renew(self) -> None:
        """
        Extend the lease, unless a batch that is under way has done so.

        Raises:
            LeaseLostError: Another process has it.
        """
        rows = self._mine()
        if can_skip_locked_rows(connections[self.tracked.using]):
            with transaction.atomic(using=self.tracked.using):
                # Who is suspended here must not keep the lock.
                limit_idle_transactions(
                    connections[self.tracked.using], self.seconds / 2
                )
                # A batch's transaction has the lock for as long as it takes.
                if rows.select_for_update(skip_locked=True).values_list("pk"):
                    rows.update(leased_until=self.expiry())
                    return
            if rows.exists():
                return
        elif rows.update(leased_until=self.expiry()):
            return
        raise self.lost()

    def require(self) -> None:
        """
        See that this is still the projection's lease; it is not extended.

        Raises:
            LeaseLostError: Another process has it, or the projection was reset.
        """
        if not self._mine().exists():
            raise self.lost()

    def release(self, state: ProjectionState, error: str = "", **changes: Any) -> None:
        """
        Let the next one take over at once; does nothing if that has happened.

        Args:
            state: What the projection is at from now on.
            error: Why, in one line.
            changes: Other fields of the row.
        """
        self.set_state(state, error, owner="", leased_until=None, **changes)

    def set_state(
        self,
        state: ProjectionState,
        error: str = "",
        traceback: str = "",
        **changes: Any,
    ) -> None:
        """
        Write down what the projection is at.

        Args:
            state: The state.
            error: Why, in one line.
            traceback: Where, if it is code that has failed.
            changes: Other fields of the row.
        """
        # First, since the database may be what is away.
        self.is_failing = state in (*FAILING, ProjectionState.STANDING_BY)
        said = (state, error)
        if said != self._last_state:
            changes.update(state_since=timezone.now())
        self._last_state = said
        self._mine().update(state=state, error=error, traceback=traceback, **changes)

    def recovery(self, position: int) -> dict[str, Any]:
        """
        Return the changes of the row with which a batch says that all is well.

        What is noted of an event behind the batch stays.

        Args:
            position: The batch's last event's.
        """
        if not (self.is_failing or self.was_abandoned or self.was_resumed):
            return {}
        noted = self.attempted_position
        is_ahead = noted is not None and position < noted
        changes = {} if is_ahead else {"attempts": 0, **NOTHING_ATTEMPTED}
        if self.store_is_away:
            return changes
        return {
            "state": ProjectionState.RUNNING,
            "state_since": timezone.now(),
            "error": "",
            "traceback": "",
            **changes,
        }

    def recovered(self) -> bool:
        """Note that a batch is committed; return whether that ends a failure."""
        self.was_resumed = False
        if self.store_is_away:
            return False
        was_failing, self.is_failing = self.is_failing, False
        if was_failing:
            self._last_state = (ProjectionState.RUNNING, "")
        return was_failing

    def attempted(self) -> tuple[int | None, int | None]:
        """
        Return what was begun and not finished after a crash.

        Returns:
            The first event's position, None if nothing is noted, and the last one's,
            None if there is one alone.
        """
        row = self._mine().first()
        return (None, None) if row is None else _attempted(row)

    def begin_attempt(self, position: int, until: int | None = None) -> int:
        """
        Write down that events are about to be processed, in case that never ends.

        Args:
            position: The first event's position.
            until: The last one's; None if it is one alone.

        Returns:
            How many attempts at just these were begun before and not finished.

        Raises:
            LeaseLostError: Another process has the lease.
        """
        row = self._mine().first()
        if row is None:
            raise self.lost()
        before = row.attempts if _attempted(row) == (position, until) else 0
        if not self._mine().update(
            attempted_position=position, attempted_until=until, attempts=before + 1
        ):
            raise self.lost()
        self.attempted_position = position
        return before

    def take_back_attempt(self, before: int) -> None:
        """Note that there are as many unfinished attempts as before the latest."""
        self._mine().update(attempts=before)

    def give_up_at(self, error: str, position: int | None, traceback: str = "") -> bool:
        """
        End the lease now, though its process still works on something and hangs.

        The owner's name stays, so that the next one knows that it was not released. The
        token grows: should the process continue after all, it cannot commit any more.

        Args:
            error: What it hangs at, in one line.
            position: The event's, to be counted as an attempt that did not end; None
                if no event is to blame.
            traceback: Where it hangs.

        Returns:
            Whether it was this process's.
        """
        row = self._mine().first()
        if row is None:
            return False
        changes: dict[str, Any] = {}
        if position is not None and _attempted(row) != (position, None):
            changes = {
                "attempted_position": position,
                "attempted_until": None,
                "attempts": 1,
            }
        self.set_state(
            ProjectionState.RETRYING,
            error,
            traceback,
            token=next_token(row),
            # Not now itself, at which the clock may stand.
            leased_until=DatabaseTime(-1),
            **changes,
        )
        return True

    def forget_attempt(self) -> None:
        """Note that what was begun has ended with an error, and not the process."""
        self.attempted_position = None
        self._mine().update(attempts=0, **NOTHING_ATTEMPTED)

    def lost(self) -> LeaseLostError:
        """Return the error that says who has it now, or that it was reset or paused."""
        row = self.tracked.queryset().first()
        name = f"Projection {self.tracked.projection!r}"
        if self.is_build:
            return LeaseLostError(f"{name} was taken over by another process")
        if row is not None and row.is_paused_by_hand:
            error = LeaseLostError(f"{name} was paused by hand")
            error.was_paused = True
            return error
        if row is None or (not row.owner and row.position is None):
            error = LeaseLostError(f"{name} was reset, and starts over")
        elif not row.owner:
            error = LeaseLostError(f"{name} was rebuilt meanwhile, or taken over")
        elif is_rebuilder(row.owner):
            error = LeaseLostError(f"{name} is being rebuilt by {row.owner}")
        else:
            # Each of the others takes a token, too.
            return LeaseLostError(
                f"{name} was taken over by {row.owner}, since its lease was not "
                f"renewed for {self.seconds:g} s"
                if row.token == self.token + 1
                else f"{name} was taken over by {row.owner}, and reset, paused or "
                "taken over by others before"
            )
        error.was_reset = True
        return error

    def _mine(self) -> ProjectionTrackingQuerySet:
        return self.tracked.queryset().filter(token=self.token)


def _attempted(row: ProjectionTracking) -> tuple[int | None, int | None]:
    return row.attempted_position, row.attempted_until
