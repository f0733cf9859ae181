"""What outlives a term: who runs a projection, whether and when it runs again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from django.db import Error as DatabaseError
from django.db import connections

from django_esdb.db.connections import ConnectionKeeper
from django_esdb.exceptions import (
    DjangoEsdbError,
    EventError,
    EventProcessingError,
    LeaseLostError,
    ProjectionError,
    is_transient,
)
from django_esdb.leases.lease import Lease
from django_esdb.models import ProjectionState
from django_esdb.policies import FailurePolicy
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration
from django_esdb.runner.projection_runner import ProjectionRunner
from django_esdb.runner.standby import ElsewhereCheck, Standby
from django_esdb.status.fingerprints import fingerprint
from eventsourcing_eventstoredb.text import named_line, one_line

logger = logging.getLogger("django_esdb.runner")

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# With --until-caught-up somebody waits for the end.
MAX_FAILED_TERMS = 5
# A term that lasts as long, after a failed one, is taken for a recovery.
RECOVERED_SECONDS = 2.0

_CAUGHT_UP_POLL_SECONDS = 0.05
# How many times a lease is renewed before it would be over.
_RENEWALS = 3


class Supervisor:
    """
    Runs one projection whenever no other process does, until it is stopped.

    It stands by while another process has the projection's lease. A transient
    failure, such as a lost connection, is followed by another term, from the
    position in the database, after a pause that grows. An event that fails is
    tried again as often as the policy says; if that stops the projection, it is
    paused, with the error in its row, until somebody has it tried again.

    Args:
        registration: The projection to run.
        until_caught_up: Whether to end when all events that were recorded when
            it began are processed, be it by another process.
        batch_size: Most events in a transaction; by default the setting's.
        exclusive: Whether to fail instead of standing by.
        fail_fast: Whether to fail instead of being paused.
        started: Called with the position each time that it becomes the owner
            and runs.
        standing_by: Called with the owner's name when another process runs it.
        paused: Called with the reason when the projection is paused.
    """

    def __init__(
        self,
        registration: Registration,
        *,
        until_caught_up: bool = False,
        batch_size: int | None = None,
        exclusive: bool = False,
        fail_fast: bool = False,
        started: Callable[[int | None], None] = lambda position: None,
        standing_by: Callable[[str], None] = lambda owner: None,
        paused: Callable[[EventError], None] = lambda error: None,
    ) -> None:
        self.registration = registration
        self.until_caught_up = until_caught_up
        self.batch_size = batch_size
        self.exclusive = exclusive
        self._refuses_pause = fail_fast or until_caught_up
        self._started = started
        self._standing_by = standing_by
        self._paused = paused
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._runner: ProjectionRunner | None = None
        self._has_run = False
        self._has_said_started = False
        self._has_head = False
        self._head: int | None = None
        self._reached: int | None = None
        self._is_outage = False
        self._connections = ConnectionKeeper()
        self._policy = FailurePolicy(registration.on_failure, registration.retries)

    @property
    def has_begun(self) -> bool:
        """Whether it has run, or there was something worth waiting for."""
        return self._has_run

    def stop(self) -> None:
        """Let the batch that is being processed be the last; returns at once."""
        with self._lock:
            self._stopping.set()
            if self._runner is not None:
                self._runner.stop()

    def run(self) -> None:
        """
        Stand by and run; blocks until stopped, caught up or failed.

        Raises:
            LeaseHeldError: It is exclusive, and another process runs it.
            LeaseLostError: It is exclusive, and another process has taken over.
            ProjectionError: The projection failed and would fail again, or it
                could not be begun. The text is one line.
        """
        elsewhere = ElsewhereCheck(self.registration)
        try:
            standby = Standby(
                self.registration,
                self._stopping,
                exclusive=self.exclusive,
                refuses_pause=self._refuses_pause,
                standing_by=self._standing_by,
            )
            while lease := standby.wait(elsewhere if self.until_caught_up else _never):
                # What was worth waiting for can be begun.
                self._has_run = self._has_run or standby.has_waited
                if self._run_as_owner(lease):
                    return
        except ProjectionError:
            raise
        except Exception as error:
            raise self._failure(error) from error
        finally:
            elsewhere.close()
            connections.close_all()

    def _run_as_owner(self, lease: Lease) -> bool:
        """Run until stopped or caught up, or else until somebody must wait again."""
        state, reason = ProjectionState.STOPPED, ""
        self._has_said_started = False
        try:
            self._run_terms(lease)
        except LeaseLostError as error:
            logger.warning("%s", error)
            if self.exclusive:
                raise
            return False
        except EventError as error:
            state, reason = ProjectionState.PAUSED, one_line(error)
            if self._refuses_pause:
                # Whoever called this reports it.
                raise
            logger.error(
                "Projection paused: projection=%s error=%s",
                self.registration.name,
                reason,
            )
            self._paused(error)
            self._policy.begin_anew()
            return False
        except Exception as error:
            failure = self._failure(error)
            reason = one_line(failure)
            raise failure from error
        finally:
            # Whoever comes next finds out, at the latest when the lease is over.
            with suppress(DatabaseError):
                lease.release(state, reason)
        return True

    def _begin(self, lease: Lease) -> None:
        if lease.tracked.row().position is None:
            current = fingerprint(self.registration)
            lease.tracked.queryset().update(fingerprint=current)
        if not lease.is_failing:
            lease.set_state(ProjectionState.RUNNING)

    def _run_terms(self, lease: Lease) -> None:
        pause = FIRST_PAUSE_SECONDS
        failed_terms = 0
        while not self._stopping.is_set():
            before = self._reached
            try:
                if failed_terms == 0:
                    self._begin(lease)
                self._run_term(lease)
                return
            except LeaseLostError:
                raise
            except Exception as error:
                failure = self._event_failure(error)
                if failure is not None:
                    pause = self._event_failed(lease, failure)
                else:
                    failed_terms = 1 if self._reached != before else failed_terms + 1
                    if not self._may_go_on(error, failed_terms):
                        raise
                    if failed_terms == 1:
                        pause = FIRST_PAUSE_SECONDS
                    self._interrupted(lease, error)
                connections.close_all()
                self._wait(lease, pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _event_failure(self, error: Exception) -> EventError | None:
        """Return the error if an event is at fault, and not an outage."""
        if isinstance(error, EventError):
            return error
        view_class = self.registration.view_class
        if (
            not self._has_run
            or issubclass(view_class, DjangoTrackingRecorder)
            or is_transient(error)
            or isinstance(error, DjangoEsdbError)
        ):
            return None
        # Views of other kinds are run by the library, which does not say at what.
        failure = EventProcessingError(
            f"Projection {self.registration.name!r} stopped at an event that it "
            f"failed to process: the first of its events after position "
            f"{self._reached}: {named_line(error)}"
        )
        failure.position = self._reached or 0
        failure.__cause__ = error
        self._policy.failed(failure.position)
        return failure

    def _event_failed(self, lease: Lease, error: EventError) -> float:
        """Say so, and return how long to wait; raise if it is to be given up."""
        if self._policy.is_exhausted:
            raise error
        self._is_outage = False
        failures = self._policy.failures
        if not lease.is_failing:
            logger.warning(
                "Event failed, trying again up to %s times: projection=%s error=%s",
                self._policy.retries,
                self.registration.name,
                one_line(error),
            )
        with suppress(DatabaseError):
            lease.set_state(
                ProjectionState.RETRYING,
                one_line(error),
                attempts=failures,
                attempted_position=None,
            )
        pause: float = FIRST_PAUSE_SECONDS * 2 ** (failures - 1)
        return min(pause, LONGEST_PAUSE_SECONDS)

    def _may_go_on(self, error: Exception, failed_terms: int) -> bool:
        # What cannot even begin is more likely wrong than away for a moment.
        return (
            self._has_run
            and is_transient(error)
            and not (self.until_caught_up and failed_terms >= MAX_FAILED_TERMS)
        )

    def _interrupted(self, lease: Lease, error: Exception) -> None:
        if not lease.is_failing:
            logger.warning(
                "Projection interrupted, trying again: projection=%s error=%s",
                self.registration.name,
                one_line(error),
            )
            self._is_outage = True
        # The database may be what is away.
        with suppress(DatabaseError):
            lease.set_state(ProjectionState.RETRYING, one_line(error))

    def _wait(self, lease: Lease, seconds: float) -> None:
        end = monotonic() + seconds
        while (remaining := end - monotonic()) > 0:
            if self._stopping.wait(min(remaining, lease.seconds / _RENEWALS)):
                return
            self._renew(lease)

    def _failure(self, error: Exception) -> ProjectionError:
        if isinstance(error, ProjectionError):
            return error
        verb = "failed" if self._has_run else "cannot run"
        line = (
            one_line(error) if isinstance(error, DjangoEsdbError) else named_line(error)
        )
        return ProjectionError(f"Projection {self.registration.name!r} {verb}: {line}")

    def _run_term(self, lease: Lease) -> None:
        with ProjectionRunner(
            application_class=self.registration.application_class,
            projection_class=self.registration.projection_class,
            view_class=self.registration.view_class,
            env=self.registration.env(),
            batch_size=self.batch_size,
            lease=lease,
            policy=self._policy,
        ) as runner:
            with self._lock:
                self._runner = runner
                if self._stopping.is_set():
                    runner.stop()
            try:
                self._follow(lease, runner)
            finally:
                with self._lock:
                    self._runner = None
                with suppress(DatabaseError):
                    self._reached = runner.view.max_tracking_id(runner.app.name)

    def _follow(self, lease: Lease, runner: ProjectionRunner) -> None:
        """Stay with a runner until its end; leaving it raises its error."""
        self._reached = runner.view.max_tracking_id(runner.app.name)
        if self.until_caught_up and not self._has_head:
            self._head = runner.app.recorder.max_notification_id()
            self._has_head = True
        self._has_run = True
        if not self._has_said_started:
            self._has_said_started = True
            self._started(self._reached)
        interval = lease.seconds / _RENEWALS
        poll = _CAUGHT_UP_POLL_SECONDS if self.until_caught_up else min(interval, 1.0)
        began = renewed = monotonic()
        while not runner.is_interrupted.is_set():
            if self.until_caught_up:
                self._connections.begin_work()
                if runner.is_caught_up(self._head):
                    return
            self._connections.end_work(poll if self.until_caught_up else interval)
            runner.run_forever(timeout=poll)
            if self._is_outage and monotonic() - began > RECOVERED_SECONDS:
                self._recovered(lease)
            if monotonic() - renewed > interval:
                self._renew(lease)
                renewed = monotonic()

    def _recovered(self, lease: Lease) -> None:
        self._is_outage = False
        if lease.is_failing:
            logger.info("Projection goes on: projection=%s", self.registration.name)
            with suppress(DatabaseError):
                lease.set_state(ProjectionState.RUNNING)

    def _renew(self, lease: Lease) -> None:
        self._connections.begin_work()
        try:
            lease.renew()
        except DatabaseError:
            # The connection was lost, or the database is away; then nobody can take
            # over either.
            connections.close_all()
            with suppress(DatabaseError):
                lease.renew()
        self._connections.end_work(lease.seconds / _RENEWALS)


def _never() -> bool:
    return False
