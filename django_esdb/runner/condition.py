"""What a projection is at in this process, and who is told of it."""

from __future__ import annotations

from django_esdb.exceptions import EventError, LeaseLostError, ProjectionError
from django_esdb.leases.lease import NOTHING_ATTEMPTED, Lease
from django_esdb.models import ProjectionState
from django_esdb.policies import FailurePolicy
from django_esdb.registry import Registration
from django_esdb.runner.decisions import Action, Decision
from django_esdb.runner.errors import projection_error
from django_esdb.runner.interrupts import Interrupts
from django_esdb.runner.ownership import Ownership
from django_esdb.runner.reporting import Reporter
from django_esdb.runner.startup import Startup
from django_esdb.tracebacks import traceback_of
from eventsourcing_eventstoredb.exceptions import DisconnectedError, NodeBehindError
from eventsourcing_eventstoredb.subscriptions.state import Phase, SubscriptionState
from eventsourcing_eventstoredb.text import one_line


class Condition:
    """
    Writes into a projection's row, and tells receivers, what has become of it.

    Used in the supervisor's thread.

    Args:
        registration: The projection.
        policy: What to do about events that fail.
        reporter: Tells receivers of signals.
        interrupts: Told when the lease is lost.
        startup: Told when the projection has begun; None if that is not asked for.

    Attributes:
        ownership: The time in which this process has the lease; None if it has not.
        has_begun: Whether it has run, or there was something worth waiting for.
        is_outage: Whether what is wrong is not the event's fault that comes next.
        failed_turns: How many turns in a row have failed without progress.
    """

    def __init__(
        self,
        registration: Registration,
        policy: FailurePolicy,
        reporter: Reporter,
        interrupts: Interrupts,
        startup: Startup | None,
    ) -> None:
        self._registration = registration
        self._policy = policy
        self._reporter = reporter
        self._interrupts = interrupts
        self._startup = startup
        self.ownership: Ownership | None = None
        self.has_begun = False
        self.is_outage = False
        self.failed_turns = 0

    def acquired(self, lease: Lease) -> Ownership:
        """Have the lease from now on, until it is given back."""
        self._reporter.waits_no_more()
        if self.has_begun:
            self.failed_turns = 0
        self.ownership = Ownership(lease, self._interrupts.lease_lost)
        self._reporter.lease_acquired(lease)
        return self.ownership

    def give_back(
        self,
        state: ProjectionState,
        reason: str = "",
        traceback: str = "",
        *,
        is_lost: bool = False,
    ) -> None:
        """
        Let another process have the lease, if this one has it.

        Args:
            state: What the projection is at from now on.
            reason: Why, in one line.
            traceback: Where, if it is code that has failed.
            is_lost: Whether another one has it already.
        """
        ownership, self.ownership = self.ownership, None
        if ownership is not None:
            ownership.give_back(state, reason, traceback)
            is_lost = self._interrupts.forget_loss() or is_lost
            if not is_lost:
                self._reporter.lease_released(state)

    def began(self, position: int | None) -> None:
        """Note that it runs, from this position on."""
        self._set_begun()
        self._reporter.waits_no_more()
        if self.ownership is not None and not self.ownership.has_started:
            self.ownership.has_started = True
            self._reporter.started(position)

    def recovered(self) -> None:
        """Note that nothing is wrong any more."""
        self.is_outage = False
        if self.ownership is not None and self.ownership.note_recovery():
            self._reporter.recovered()

    def lease_lost(self, error: LeaseLostError) -> None:
        """Note that another process has taken over."""
        # There is nothing left to release.
        self.give_back(ProjectionState.STOPPED, is_lost=True)
        if error.was_reset or error.was_paused:
            # It was restarted, so its events have all their retries again.
            self._policy.forget_failures()
        self._reporter.lease_lost(error)

    def turn_failed(self, *, has_progressed: bool) -> None:
        """Count a turn that has failed, though not because of an event."""
        self.failed_turns = 1 if has_progressed else self.failed_turns + 1

    def event_failed(self, error: EventError, decision: Decision) -> None:
        """Note that an event has failed, and what is done about it."""
        self.is_outage = False
        ownership, failures = self.ownership, self._policy.failures
        is_retried = decision.action is Action.RETRY
        self._reporter.event_failed(
            error,
            self._policy,
            decision.seconds if is_retried else None,
            is_first=ownership is not None and not ownership.lease.is_failing,
        )
        if is_retried and ownership is not None:
            ownership.note_retry(error, attempts=failures, **NOTHING_ATTEMPTED)
        if decision.action is Action.PAUSE:
            self.give_back(ProjectionState.PAUSED, one_line(error), traceback_of(error))
            self._policy.forget_failures()
            self.failed_turns = 0
            self._reporter.paused(error)

    def interrupted(self, error: Exception, seconds: float) -> None:
        """Note what is away, and after how many seconds it is tried again."""
        ownership = self.ownership
        if isinstance(error, NodeBehindError):
            self._await_node(error)
        elif not self.has_begun:
            failure = self.failure(error)
            self.give_back(ProjectionState.STOPPED, one_line(failure))
            is_first = self.failed_turns == 1
            self._reporter.interrupted(failure, "beginning", seconds, is_first=is_first)
        elif ownership is None:
            self._reporter.interrupted(error, "standing by", seconds)
        else:
            is_first = not ownership.lease.is_failing
            self.is_outage = self.is_outage or is_first
            ownership.note_retry(error)
            self._reporter.interrupted(error, "running", seconds, is_first=is_first)

    def stands_by(self, error: Exception) -> None:
        """Note for whom or for what it waits."""
        self.failed_turns = 0
        if not isinstance(error, LeaseLostError):
            self._set_begun()
            self._reporter.standing_by(error)

    def store_is_away(self, state: SubscriptionState | None) -> None:
        """Note what a subscription that resumes by itself is at; None if it has."""
        ownership = self.ownership
        if ownership is None:
            return
        ownership.lease.store_is_away = state is not None
        if state is None:
            self._reporter.waits_no_more()
            self.recovered()
            return
        if state.phase is Phase.STANDING_BY:
            self._await_node(NodeBehindError(state.problem))
            return
        error = DisconnectedError(state.problem)
        is_first = not ownership.lease.is_failing
        ownership.note_retry(error)
        self._reporter.interrupted(error, "running", 0.0, is_first=is_first)

    def failure(self, error: BaseException) -> ProjectionError:
        """Return an error whose text is a line about the projection."""
        return projection_error(self._registration, error, has_begun=self.has_begun)

    def _await_node(self, error: NodeBehindError) -> None:
        """Keep the lease while the event store's nodes catch up."""
        self.failed_turns = 0
        self._set_begun()
        if self.ownership is not None:
            self.is_outage = True
            self.ownership.note_standby(error)
        self._reporter.standing_by(error)

    def _set_begun(self) -> None:
        self.has_begun = True
        if self._startup is not None:
            self._startup.begun(self._registration.name)
