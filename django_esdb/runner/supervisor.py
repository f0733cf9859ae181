"""What outlives a term: who runs a projection, whether and when it runs again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic

from django.db import connections

from django_esdb.db.connections import ConnectionKeeper
from django_esdb.exceptions import (
    EventError,
    EventHangError,
    LeaseLostError,
    ProjectionError,
)
from django_esdb.leases.lease import NOTHING_ATTEMPTED, Lease
from django_esdb.leases.shared_look import SharedLook
from django_esdb.models import ProjectionState
from django_esdb.policies import FailurePolicy
from django_esdb.rebuilding.background import begin_requested
from django_esdb.registry import Registration
from django_esdb.runner import decisions
from django_esdb.runner.decisions import (
    Action,
    Decision,
    Known,
    decide,
    is_store_outage,
)
from django_esdb.runner.endings import done_within
from django_esdb.runner.errors import blame_event, end_state, projection_error
from django_esdb.runner.hangs import HangWatch, hang_error, log_hang
from django_esdb.runner.lag_watch import LagWatch
from django_esdb.runner.ownership import Ownership
from django_esdb.runner.reporting import Reporter
from django_esdb.runner.slow_events import EventClock
from django_esdb.runner.standby import ElsewhereCheck, Standby
from django_esdb.runner.startup import Startup
from django_esdb.runner.store_waits import StoreWait
from django_esdb.runner.term import Goal, Term
from django_esdb.store_address import is_of_store
from django_esdb.tracebacks import traceback_of
from eventsourcing_eventstoredb.backoff import Backoff, keep_trying
from eventsourcing_eventstoredb.exceptions import DisconnectedError, NodeBehindError
from eventsourcing_eventstoredb.subscription_state import Phase, SubscriptionState
from eventsourcing_eventstoredb.text import one_line

_PAUSES = Backoff()
# For receivers of signals, when an event hangs.
_TELL_SECONDS = 5.0


class Supervisor:
    """
    Runs one projection whenever no other process does, until it is stopped.

    It stands by while another process has the projection's lease. A transient
    failure, such as a lost connection, is followed by another term, from the
    position in the database, after a pause that grows. An event that fails is
    tried again as often as the policy says; if that stops the projection, it is
    paused, with the error in its row, until a retry is asked for. What
    happens is told by :mod:`django_esdb.signals`.

    Args:
        registration: The projection to run.
        until_caught_up: Whether to end when all events that were recorded when
            it began are processed, be it by another process.
        batch_size: Most events in a transaction; by default the setting's.
        exclusive: Whether to fail instead of standing by.
        fail_fast: Whether to fail instead of being paused.
        startup: Tells whether other projections of the process could begin; None if
            there are none.
        look: Reads the rows of all projections that the process waits for; None if
            there is one alone.
        wait: For how many seconds from the first attempt an event store is waited
            for that is not there yet.
        watch: Looks how far the projection is behind; None if nobody does.
        take_over: Takes the lease, at first, from whoever has it; see
            :class:`~django_esdb.runner.standby.Standby`.
        goal: Up to where to run with *until_caught_up*; None for all that is recorded
            when it begins.
        hung: Called, in another thread, when an event takes longer than it may and
            another process may take over: this one has to end.
    """

    def __init__(
        self,
        registration: Registration,
        *,
        until_caught_up: bool = False,
        batch_size: int | None = None,
        exclusive: bool = False,
        fail_fast: bool = False,
        startup: Startup | None = None,
        look: SharedLook | None = None,
        wait: float = 0.0,
        watch: LagWatch | None = None,
        take_over: Callable[[str], Lease] | None = None,
        goal: Goal | None = None,
        hung: Callable[[Supervisor], object] = lambda supervisor: None,
    ) -> None:
        self.registration = registration
        self.until_caught_up = until_caught_up
        self.batch_size = batch_size
        self.exclusive = exclusive
        self.fail_fast = fail_fast
        self._startup = startup
        self._look = look or SharedLook(decisions.STANDBY_SECONDS)
        self._look.await_all([registration.tracked()])
        self._standby = Standby(registration, self._look, take_over)
        self._goal = goal or Goal()
        self._elsewhere = ElsewhereCheck(registration, self._look, self._goal)
        self._policy = FailurePolicy(registration.on_failure, registration.retries)
        self._clock = EventClock()
        self._retry_clock = EventClock()
        self._hung = hung
        self._watch = watch
        self._wait_seconds = wait
        self._store_wait = StoreWait(registration)
        self._wait_until: float | None = None
        self._connections = ConnectionKeeper()
        self._reporter = Reporter(registration)
        # Guards what others than the supervisor's thread change.
        self._changed = threading.Condition()
        self._is_stopping = False
        self._lost: LeaseLostError | None = None
        self._hangs: EventHangError | None = None
        self._term: Term | None = None
        self._ownership: Ownership | None = None
        self._has_begun = False
        self._waits_for_store = False
        self._is_outage = False
        self._failed_turns = 0
        self._reached: int | None = None
        self._reached_before: int | None = None

    def stop(self) -> None:
        """Let the batch that is being processed be the last; returns at once."""
        with self._changed:
            self._is_stopping = True
            self._end_term()

    def run(self) -> None:
        """
        Stand by and run; blocks until stopped, caught up or failed.

        Raises:
            LeaseHeldError: It is exclusive, and another process runs it.
            LeaseLostError: It is exclusive, and another process has taken over.
            ProjectionError: The projection failed and would fail again, or it
                could not be begun; also for what is not an ``Exception``. The text
                is one line.
        """
        try:
            self._run()
        finally:
            try:
                self._store_wait.close()
                self._elsewhere.close()
            finally:
                connections.close_all()

    def _run(self) -> None:
        try:
            keep_trying(self._turn, self._pause_after, self._wait)
            if self._hangs is not None:
                # It went on after all, when others had been told to take over.
                raise self._hangs
            self._give_back(ProjectionState.STOPPED)
            self._reporter.stopped(self._reached)
        except BaseException as error:
            if self._hangs is not None:
                self._give_back(ProjectionState.STOPPED)
                raise self._hangs from error
            failure = self._failure(error)
            state = end_state(error)
            place = "" if state is ProjectionState.STOPPED else traceback_of(error)
            self._give_back(state, one_line(failure), place)
            self._reporter.failed(failure)
            if failure is error:
                raise
            raise failure from error

    def _turn(self) -> None:
        """Get the lease, or raise who has it, and run a term; return if all is done."""
        if self._is_stopping:
            return
        if self._lost is not None:
            raise self._lost
        self._reached_before = self._reached
        if self._ownership is None:
            self._connections.begin_work()
            is_waiting = self._reporter.is_waiting
            if self.until_caught_up and is_waiting and self._elsewhere():
                return
            lease = self._standby.acquire()
            self._reporter.waits_no_more()
            if self._has_begun:
                self._failed_turns = 0
            self._ownership = Ownership(lease, self._lease_lost)
            self._reporter.lease_acquired(lease)
        while True:
            self._begin_rebuild(self._ownership.lease)
            self._run_term(self._ownership)
            if self._has_to_act() or not self._ownership.lease.rebuild_requested:
                return

    def _begin_rebuild(self, lease: Lease) -> None:
        """Start over, if somebody has asked for that."""
        lease.rebuild_requested = False
        begun = begin_requested(self.registration, lease)
        if begun is not None and begun.rows is not None:
            self._policy.forget_failures()
            self._reporter.rebuild_began(begun.until, begun.rows)

    def _run_term(self, ownership: Ownership) -> None:
        ownership.prepare(self.registration)
        ownership.lease.store_is_away = False
        term = Term(
            self.registration,
            ownership.lease,
            self._policy,
            self._clock,
            retry_clock=self._retry_clock,
            batch_size=self.batch_size,
            goal=self._goal if self.until_caught_up else None,
            began=self._began,
            # Also where that was another process's, which cannot say any more what
            # was wrong.
            recovered=self._recovered if ownership.may_recover else None,
            recovers_at_end=not self._is_outage,
            watch=self._watch,
            position=self._reached,
            store_is_away=self._store_is_away,
            resumed=self._reporter.resumed,
        )
        with self._changed:
            self._term = term
            if self._is_stopping or self._lost is not None:
                term.stop()
        watches = [
            HangWatch(
                clock,
                partial(self._event_hangs, clock),
                f"{self.registration.name}-hangs",
            )
            for clock in (self._clock, self._retry_clock)
        ]
        try:
            term.run()
        except BaseException as error:
            if self._lost is not None:
                raise self._lost from error
            if self._has_begun:
                blame_event(self.registration, self._policy, error, term.position)
            raise
        finally:
            for watch in watches:
                watch.stop()
            with self._changed:
                self._term = None
            self._reached = term.position
        if self._lost is not None:
            raise self._lost

    def _wait(self, seconds: float) -> bool:
        self._connections.end_work(seconds)
        if self._waits_for_store:
            self._waits_for_store = False
            began = monotonic()
            if self._store_wait.until_there(seconds, self._has_to_act):
                seconds = 0.0
            seconds -= monotonic() - began
        with self._changed:
            self._changed.wait_for(self._has_to_act, max(seconds, 0.0))
            return not self._is_stopping

    def _has_to_act(self) -> bool:
        return self._is_stopping or self._lost is not None

    def _pause_after(self, error: Exception) -> float | None:
        """Do what is decided about an error; return how long to wait, None to end."""
        if self._hangs is not None:
            return None
        if isinstance(error, LeaseLostError):
            # There is nothing left to release.
            self._give_back(ProjectionState.STOPPED, is_lost=True)
            self._reporter.lease_lost(error)
        if not isinstance(error, EventError):
            has_progressed = self._reached != self._reached_before
            self._failed_turns = 1 if has_progressed else self._failed_turns + 1
        awaits_store = self._awaits_store(error)
        decision = decide(error, self._known(awaits_store=awaits_store))
        self._waits_for_store = is_store_outage(error)
        if decision.action is Action.ASK_OTHERS and self._startup is not None:
            # Meanwhile another process may be able to run it.
            self._give_back(ProjectionState.STOPPED, one_line(self._failure(error)))
            connections.close_all()
            may_begin = self._startup.may_try_again(self.registration.name)
            known = replace(self._known(), may_begin_again=may_begin)
            decision = decide(error, known)
        if isinstance(error, EventError):
            self._event_failed(error, decision)
        elif decision.action is Action.RETRY:
            self._interrupted(error, decision.seconds)
        if decision.action is Action.STAND_BY:
            self._stand_by(error)
            return self._look.pause() if decision.seconds else 0.0
        if decision.action is Action.FAIL:
            return None
        return _PAUSES.varied(decision.seconds)

    def _awaits_store(self, error: Exception) -> bool:
        if self._has_begun or not is_of_store(error):
            return False
        if self._wait_until is None:
            self._wait_until = monotonic() + self._wait_seconds
        return monotonic() < self._wait_until

    def _known(self, *, awaits_store: bool = False) -> Known:
        return Known(
            awaits_store=awaits_store,
            has_begun=self._has_begun,
            has_lease=self._ownership is not None,
            may_begin_again=None if self._startup is not None else False,
            failed_turns=self._failed_turns,
            until_caught_up=self.until_caught_up,
            exclusive=self.exclusive,
            fail_fast=self.fail_fast,
            is_given_up=self._policy.is_exhausted,
            event_failures=self._policy.failures,
            stopping=self._is_stopping,
        )

    def _began(self, position: int | None) -> None:
        self._reached = position
        self._set_begun()
        self._reporter.waits_no_more()
        if self._ownership is not None and not self._ownership.has_started:
            self._ownership.has_started = True
            self._reporter.started(position)

    def _set_begun(self) -> None:
        self._has_begun = True
        if self._startup is not None:
            self._startup.begun(self.registration.name)

    def _event_failed(self, error: EventError, decision: Decision) -> None:
        self._is_outage = False
        ownership, failures = self._ownership, self._policy.failures
        is_retried = decision.action is Action.RETRY
        self._reporter.event_failed(
            error,
            self._policy,
            decision.seconds if is_retried else None,
            is_first=ownership is not None and not ownership.lease.is_failing,
        )
        if is_retried and ownership is not None:
            ownership.note_retry(error, attempts=failures, **NOTHING_ATTEMPTED)
            connections.close_all()
        if decision.action is Action.PAUSE:
            self._give_back(
                ProjectionState.PAUSED, one_line(error), traceback_of(error)
            )
            self._policy.forget_failures()
            self._failed_turns = 0
            self._reporter.paused(error)

    def _interrupted(self, error: Exception, seconds: float) -> None:
        ownership = self._ownership
        if isinstance(error, NodeBehindError):
            self._await_node(error)
        elif not self._has_begun:
            failure = self._failure(error)
            self._give_back(ProjectionState.STOPPED, one_line(failure))
            is_first = self._failed_turns == 1
            self._reporter.interrupted(failure, "beginning", seconds, is_first=is_first)
        elif ownership is None:
            self._reporter.interrupted(error, "standing by", seconds)
        else:
            is_first = not ownership.lease.is_failing
            self._is_outage = self._is_outage or is_first
            ownership.note_retry(error)
            self._reporter.interrupted(error, "running", seconds, is_first=is_first)
        connections.close_all()

    def _await_node(self, error: NodeBehindError) -> None:
        """Keep the lease while the event store's nodes catch up."""
        self._failed_turns = 0
        self._set_begun()
        if self._ownership is not None:
            self._is_outage = True
            self._ownership.note_standby(error)
        self._reporter.standing_by(error)

    def _stand_by(self, error: Exception) -> None:
        self._failed_turns = 0
        if not isinstance(error, LeaseLostError):
            self._set_begun()
            self._reporter.standing_by(error)

    def _recovered(self) -> None:
        self._is_outage = False
        if self._ownership is not None and self._ownership.note_recovery():
            self._reporter.recovered()

    def _store_is_away(self, state: SubscriptionState | None) -> None:
        """Tell what a subscription that resumes by itself is at."""
        ownership = self._ownership
        if ownership is None:
            return
        ownership.lease.store_is_away = state is not None
        if state is None:
            self._reporter.waits_no_more()
            self._recovered()
            return
        if state.phase is Phase.STANDING_BY:
            self._await_node(NodeBehindError(state.problem))
            return
        error = DisconnectedError(state.problem)
        is_first = not ownership.lease.is_failing
        ownership.note_retry(error)
        self._reporter.interrupted(error, "running", 0.0, is_first=is_first)

    def _lease_lost(self, error: LeaseLostError) -> None:
        with self._changed:
            self._lost = error
            self._end_term()

    def _event_hangs(self, clock: EventClock) -> None:
        error = hang_error(self.registration.name, clock)
        with self._changed:
            ownership = self._ownership
            if ownership is None:
                return
            self._hangs = error
            self._is_stopping = True
            self._end_term()
        try:
            log_hang(error)
            ownership.abandon(clock, error)
            done_within(_TELL_SECONDS, lambda: self._reporter.failed(error))
        finally:
            self._hung(self)

    def _end_term(self) -> None:
        if self._term is not None:
            self._term.stop()
        self._changed.notify_all()

    def _give_back(
        self,
        state: ProjectionState,
        reason: str = "",
        traceback: str = "",
        *,
        is_lost: bool = False,
    ) -> None:
        ownership, self._ownership = self._ownership, None
        if ownership is not None:
            ownership.give_back(state, reason, traceback)
            is_lost, self._lost = is_lost or self._lost is not None, None
            if not is_lost:
                self._reporter.lease_released(state)

    def _failure(self, error: BaseException) -> ProjectionError:
        return projection_error(self.registration, error, has_begun=self._has_begun)
