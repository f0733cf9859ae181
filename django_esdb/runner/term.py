"""One term of a projection: from making a runner to its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from django.db import Error as DatabaseError
from eventsourcing.application import Application

from django_esdb.db.connections import ConnectionKeeper, close_connections
from django_esdb.failures.background import retry_requested
from django_esdb.leases.lease import Lease
from django_esdb.policies import FailurePolicy
from django_esdb.registry import Registration
from django_esdb.runner.lag.lag_watch import LagWatch
from django_esdb.runner.projection_runner import ProjectionRunner
from django_esdb.runner.time_limits.slow_events import EventClock
from eventsourcing_eventstoredb.subscriptions.state import Phase, SubscriptionState

# A term that lasts as long, after a failed one, is taken for a recovery.
RECOVERED_SECONDS = 2.0

_CAUGHT_UP_POLL_SECONDS = 0.05
# What is over sooner is not told of.
_AWAY_AFTER = timedelta(seconds=2)
_STORE_POLL_SECONDS = 0.5


class Goal:
    """
    The application's last event when it is first asked for, or one that is given.

    What comes later does not count for those who wait until all is processed.

    Attributes:
        is_given: Whether it was given: then the projection's own position gets there,
            which nothing may be processed at.
    """

    def __init__(self) -> None:
        self.is_given = False
        self._is_known = False
        self._head: int | None = None

    def is_at(self, head: int | None) -> None:
        """Have it be at a position; None where there was no event."""
        self.is_given = self._is_known = True
        self._head = head

    def of(self, app: Application[Any]) -> int | None:
        """Return its position; None if there was no event. Asks the store once."""
        if not self._is_known:
            self._head = app.recorder.max_notification_id()
            self._is_known = True
        return self._head


class Term:
    """
    Runs a projection until it is stopped, fails, has caught up or is to be rebuilt.

    Args:
        registration: The projection.
        lease: The right to run it.
        policy: What to do about an event that fails.
        clock: Told which event is being processed.
        retry_clock: Told which failed event is tried again, which another thread does.
        batch_size: Most events in a batch; None for the setting's.
        goal: Up to where to run; None to run until stopped.
        began: Called with the position when the projection runs.
        recovered: Called when it has run for :data:`RECOVERED_SECONDS`; None if
            the caller need not know.
        recovers_at_end: Whether only one that has caught up by then has recovered, so
            that the event which failed cannot be ahead.
        watch: Told of the runner while it runs; None for none.
        position: Of the event that was processed last, as far as it is known.
        store_is_away: Called with the subscription's state when the event store cannot
            be used for two seconds, and with None when it can again.
        resumed: Called with how often the subscription has resumed since it was called
            last, once it has.

    Attributes:
        position: As the argument, and moved on when the projection has run.
    """

    def __init__(
        self,
        registration: Registration,
        lease: Lease,
        policy: FailurePolicy,
        clock: EventClock,
        *,
        retry_clock: EventClock,
        batch_size: int | None,
        goal: Goal | None,
        began: Callable[[int | None], None],
        recovered: Callable[[], None] | None,
        position: int | None,
        store_is_away: Callable[[SubscriptionState | None], None] | None = None,
        recovers_at_end: bool = False,
        watch: LagWatch | None = None,
        resumed: Callable[[int], None] | None = None,
    ) -> None:
        self._resumed = resumed
        self._resumptions = 0
        self._recovers_at_end = recovers_at_end
        self._watch = watch
        self._store_is_away = store_is_away
        self._registration = registration
        self._lease = lease
        self._policy = policy
        self._clock = clock
        self._retry_clock = retry_clock
        self._batch_size = batch_size
        self._goal = goal
        self._began = began
        self._recovered = recovered
        self._lock = threading.Lock()
        self._runner: ProjectionRunner | None = None
        self._is_stopping = False
        self._connections = ConnectionKeeper()
        self._ends_outage_at = 0.0
        self._head: int | None = None
        self._away: Phase | None = None
        self.position = position

    def stop(self) -> None:
        """Let the batch that is being processed be the last; returns at once."""
        with self._lock:
            self._is_stopping = True
            if self._runner is not None:
                self._runner.stop()

    def run(self) -> None:
        """
        Run the projection; blocks until its end.

        While it runs until stopped, the calling thread holds no database connection.

        Raises:
            Exception: What has ended it, or why it could not be begun.
        """
        # What is told of the start comes before what is told of events.
        may_start = threading.Event()
        with ProjectionRunner(
            application_class=self._registration.application_class,
            projection_class=self._registration.projection_class,
            view_class=self._registration.view_class,
            env=self._registration.env(),
            batch_size=self._batch_size,
            lease=self._lease,
            policy=self._policy,
            may_start=may_start,
            clock=self._clock,
        ) as runner:
            with self._lock:
                self._runner = runner
                if self._is_stopping:
                    runner.stop()
            try:
                self._start(runner, may_start)
                with self._watched(runner):
                    self._follow(runner)
            finally:
                with suppress(DatabaseError):
                    self.position = runner.view.max_tracking_id(runner.app.name)

    def _start(self, runner: ProjectionRunner, may_start: threading.Event) -> None:
        """Tell from where a runner runs, and let it."""
        try:
            self.position = runner.view.max_tracking_id(runner.app.name)
            self._head = None if self._goal is None else self._goal.of(runner.app)
            self._began(self.position)
        finally:
            # Its thread has to be able to end.
            may_start.set()

    def _watched(self, runner: ProjectionRunner) -> AbstractContextManager[None]:
        if self._watch is None:
            return nullcontext()
        return self._watch.following(self._registration, runner)

    def _follow(self, runner: ProjectionRunner) -> None:
        """Stay with a runner until its end; leaving it raises its error."""
        self._ends_outage_at = monotonic() + RECOVERED_SECONDS
        while not runner.is_interrupted.is_set():
            if self._goal is not None and self._is_caught_up(runner):
                return
            if self._lease.rebuild_requested:
                return
            runner.run_forever(timeout=self._pause())
            self._look_at_store(runner)
            self._retry_requested(runner)
            self._look_at_recovery(runner)

    def _look_at_recovery(self, runner: ProjectionRunner) -> None:
        """Tell that what was wrong is over, when the term has lasted long enough."""
        if self._recovered is None or monotonic() <= self._ends_outage_at:
            return
        if self._recovers_at_end and not runner.catching_up.has_caught_up:
            # Later again.
            self._ends_outage_at = monotonic() + _STORE_POLL_SECONDS
            return
        self._recovered()
        self._recovered = None

    def _retry_requested(self, runner: ProjectionRunner) -> None:
        """Try failed events again that were requested in the admin."""
        if self._lease.retry_requested:
            # Until it is seen again that there are some.
            self._lease.retry_requested = False
            if retry_requested(
                self._registration,
                lambda: self._is_stopping or runner.is_interrupted.is_set(),
                self._retry_clock,
            ):
                self._lease.retry_requested = True

    def _look_at_store(self, runner: ProjectionRunner) -> None:
        """Tell when the event store is away, and when it is there again."""
        state = runner.subscription_state
        if state is None:
            return
        times = state.resumptions - self._resumptions
        if times and self._resumed is not None:
            self._resumptions = state.resumptions
            self._resumed(times)
        if self._store_is_away is None:
            return
        away = state.phase if state.phase.is_interrupted else None
        if away is not None and datetime.now(UTC) - state.since < _AWAY_AFTER:
            return
        if away is not self._away:
            self._away = away
            self._store_is_away(state if away else None)

    def _is_caught_up(self, runner: ProjectionRunner) -> bool:
        self._connections.begin_work()
        is_caught_up = runner.is_caught_up(self._head)
        if is_caught_up:
            position = runner.view.max_tracking_id(runner.app.name)
            runner.catching_up.is_at_end(position)
            # Where only others' events are left, the runner moves it once it is idle.
            is_caught_up = self._has_arrived(position)
        if not is_caught_up:
            # It never arrives where its position was deleted meanwhile.
            self._lease.require()
        self._connections.end_work(_CAUGHT_UP_POLL_SECONDS)
        return is_caught_up

    def _has_arrived(self, position: int | None) -> bool:
        if self._goal is None or not self._goal.is_given or self._head is None:
            return True
        return position is not None and position >= self._head

    def _pause(self) -> float | None:
        """Return the longest wait for the runner's end; None for no limit."""
        if self._goal is not None:
            return _CAUGHT_UP_POLL_SECONDS
        close_connections()
        if self._recovered is None:
            return _STORE_POLL_SECONDS
        return max(0.0, self._ends_outage_at - monotonic())
