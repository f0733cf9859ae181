"""What outlives a term: who runs a projection, whether and when it runs again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic

from django.db import connections

from django_esdb.applications.store_address import is_of_store
from django_esdb.db.connections import ConnectionKeeper
from django_esdb.exceptions import EventError, LeaseLostError
from django_esdb.leases.lease import Lease
from django_esdb.leases.shared_look import SharedLook
from django_esdb.models import ProjectionState
from django_esdb.policies import FailurePolicy
from django_esdb.rebuilding.background import begin_requested
from django_esdb.registry import Registration
from django_esdb.runner import decisions
from django_esdb.runner.condition import Condition
from django_esdb.runner.decisions import Action, Known, decide, is_store_outage
from django_esdb.runner.errors import blame_event, end_state
from django_esdb.runner.interrupts import Interrupts
from django_esdb.runner.lag.lag_watch import LagWatch
from django_esdb.runner.ownership import Ownership
from django_esdb.runner.reporting import Reporter
from django_esdb.runner.standby import ElsewhereCheck, Standby
from django_esdb.runner.startup import Startup
from django_esdb.runner.store_waits import StoreWait
from django_esdb.runner.term import Goal, Term
from django_esdb.runner.time_limits.endings import done_within
from django_esdb.runner.time_limits.hangs import HangWatch, hang_error, log_hang
from django_esdb.runner.time_limits.slow_events import EventClock
from django_esdb.tracebacks import traceback_of
from eventsourcing_eventstoredb.backoff import Backoff, keep_trying
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
        watch: Looks how far the projection is behind; None if that is not measured.
        take_over: Takes the lease, at first, from its owner; see
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
        self._waits_for_store = False
        self._connections = ConnectionKeeper()
        self._reporter = Reporter(registration)
        self._interrupts = Interrupts()
        self._condition = Condition(
            registration, self._policy, self._reporter, self._interrupts, startup
        )
        self._reached: int | None = None
        self._reached_before: int | None = None

    def stop(self) -> None:
        """Let the batch that is being processed be the last; returns at once."""
        self._interrupts.stop()

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
        condition, interrupts = self._condition, self._interrupts
        try:
            keep_trying(self._turn, self._pause_after, self._wait)
            if interrupts.hangs is not None:
                # It went on after all, when others had been told to take over.
                raise interrupts.hangs
            condition.give_back(ProjectionState.STOPPED)
            self._reporter.stopped(self._reached)
        except BaseException as error:
            if interrupts.hangs is not None:
                condition.give_back(ProjectionState.STOPPED)
                raise interrupts.hangs from error
            failure = condition.failure(error)
            state = end_state(error)
            place = "" if state is ProjectionState.STOPPED else traceback_of(error)
            condition.give_back(state, one_line(failure), place)
            self._reporter.failed(failure)
            if failure is error:
                raise
            raise failure from error

    def _turn(self) -> None:
        """Get the lease, or raise who has it, and run a term; return if all is done."""
        if self._interrupts.is_stopping:
            return
        if self._interrupts.lost is not None:
            raise self._interrupts.lost
        self._reached_before = self._reached
        ownership = self._condition.ownership
        if ownership is None:
            self._connections.begin_work()
            is_waiting = self._reporter.is_waiting
            if self.until_caught_up and is_waiting and self._elsewhere():
                return
            ownership = self._condition.acquired(self._standby.acquire())
        while True:
            self._begin_rebuild(ownership.lease)
            self._run_term(ownership)
            is_over = not ownership.lease.rebuild_requested
            if is_over or self._interrupts.has_to_act():
                return

    def _begin_rebuild(self, lease: Lease) -> None:
        """Start over, if that was requested."""
        lease.rebuild_requested = False
        begun = begin_requested(self.registration, lease)
        if begun is not None and begun.rows is not None:
            self._policy.forget_failures()
            self._reporter.rebuild_began(begun.until, begun.rows)

    def _run_term(self, ownership: Ownership) -> None:
        ownership.prepare(self.registration)
        ownership.lease.store_is_away = False
        term = self._made_term(ownership)
        with self._interrupts.ending(term):
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
                if self._interrupts.lost is not None:
                    raise self._interrupts.lost from error
                if self._condition.has_begun:
                    blame_event(self.registration, self._policy, error, term.position)
                raise
            finally:
                for watch in watches:
                    watch.stop()
                self._reached = term.position
        if self._interrupts.lost is not None:
            raise self._interrupts.lost

    def _made_term(self, ownership: Ownership) -> Term:
        condition = self._condition
        return Term(
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
            recovered=condition.recovered if ownership.may_recover else None,
            recovers_at_end=not condition.is_outage,
            watch=self._watch,
            position=self._reached,
            store_is_away=condition.store_is_away,
            resumed=self._reporter.resumed,
        )

    def _began(self, position: int | None) -> None:
        self._reached = position
        self._condition.began(position)

    def _wait(self, seconds: float) -> bool:
        self._connections.end_work(seconds)
        if self._waits_for_store:
            self._waits_for_store = False
            began = monotonic()
            if self._store_wait.until_there(seconds, self._interrupts.has_to_act):
                seconds = 0.0
            seconds -= monotonic() - began
        return self._interrupts.wait(seconds)

    def _pause_after(self, error: Exception) -> float | None:
        """Do what is decided about an error; return how long to wait, None to end."""
        condition = self._condition
        if self._interrupts.hangs is not None:
            return None
        if isinstance(error, LeaseLostError):
            condition.lease_lost(error)
        if not isinstance(error, EventError):
            has_progressed = self._reached != self._reached_before
            condition.turn_failed(has_progressed=has_progressed)
        decision = decide(error, self._known(awaits_store=self._awaits_store(error)))
        self._waits_for_store = is_store_outage(error)
        if decision.action is Action.ASK_OTHERS and self._startup is not None:
            # Meanwhile another process may be able to run it.
            reason = one_line(condition.failure(error))
            condition.give_back(ProjectionState.STOPPED, reason)
            connections.close_all()
            may_begin = self._startup.may_try_again(self.registration.name)
            known = replace(self._known(), may_begin_again=may_begin)
            decision = decide(error, known)
        if isinstance(error, EventError):
            condition.event_failed(error, decision)
        elif decision.action is Action.RETRY:
            condition.interrupted(error, decision.seconds)
        if decision.action is Action.RETRY:
            connections.close_all()
        if decision.action is Action.STAND_BY:
            condition.stands_by(error)
            return self._look.pause() if decision.seconds else 0.0
        if decision.action is Action.FAIL:
            return None
        return _PAUSES.varied(decision.seconds)

    def _awaits_store(self, error: Exception) -> bool:
        if self._condition.has_begun or not is_of_store(error):
            return False
        if self._wait_until is None:
            self._wait_until = monotonic() + self._wait_seconds
        return monotonic() < self._wait_until

    def _known(self, *, awaits_store: bool = False) -> Known:
        return Known(
            awaits_store=awaits_store,
            has_begun=self._condition.has_begun,
            has_lease=self._condition.ownership is not None,
            may_begin_again=None if self._startup is not None else False,
            failed_turns=self._condition.failed_turns,
            until_caught_up=self.until_caught_up,
            exclusive=self.exclusive,
            fail_fast=self.fail_fast,
            is_given_up=self._policy.is_exhausted,
            event_failures=self._policy.failures,
            stopping=self._interrupts.is_stopping,
        )

    def _event_hangs(self, clock: EventClock) -> None:
        error = hang_error(self.registration.name, clock)
        ownership = self._condition.ownership
        if ownership is None:
            return
        self._interrupts.event_hangs(error)
        try:
            log_hang(error)
            ownership.abandon(clock, error)
            done_within(_TELL_SECONDS, lambda: self._reporter.failed(error))
        finally:
            self._hung(self)
