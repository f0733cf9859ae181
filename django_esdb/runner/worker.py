"""All projections of a process, each with its own thread and its own fate."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import monotonic

from django_esdb.db.connections import close_connections
from django_esdb.exceptions import ProjectionError
from django_esdb.leases.lease import Lease
from django_esdb.leases.shared_look import SharedLook
from django_esdb.registry import Registration, registry
from django_esdb.runner import decisions
from django_esdb.runner.errors import projection_error
from django_esdb.runner.lag.lag_watch import watches
from django_esdb.runner.startup import Startup
from django_esdb.runner.supervisor import Supervisor
from django_esdb.runner.term import Goal
from django_esdb.runner.time_limits.endings import end_process
from django_esdb.runner.time_limits.stalls import StallWatch
from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.signal_threads import stopped_by_signals

logger = logging.getLogger("django_esdb.runner")

# What a process that a signal ended is reported with.
SIGNAL_STATUS = 128
# Of a process whose projections did not end in time.
TIMEOUT_STATUS = 4
# Of a process in which an event has taken longer than it may.
HANG_STATUS = 5

_SIGNALS_SECONDS = 0.2
# How long stopping may take: under the ten seconds after which containers are killed.
SHUTDOWN_SECONDS = 8.0


@dataclass
class Options:
    """
    How projections are run.

    Attributes:
        until_caught_up: End when all events recorded so far are processed.
        batch_size: Most events in a transaction; None for the setting's.
        exclusive: Fail where another process runs a projection.
        fail_fast: End all projections when one fails or would be paused.
        wait: Seconds for which an event store is waited for that is not there yet.
        shutdown_timeout: Seconds that stopping may take; None for no limit.
        take_over: Takes the lease of the one projection from its owner; None to
            wait for it.
        goal: Up to where to run it until it has caught up; None for all.
    """

    until_caught_up: bool = False
    batch_size: int | None = None
    exclusive: bool = False
    fail_fast: bool = False
    wait: float = 0.0
    shutdown_timeout: float | None = None
    take_over: Callable[[str], Lease] | None = None
    goal: Goal | None = None


class Worker:
    """
    Runs projections side by side; one that fails does not stop the others.

    One that could not begin, since the database or the event store was away, tries
    again for as long as it takes, if another one could.

    Args:
        registrations: The projections to run.
        options: How to run them.

    Attributes:
        was_stopped: Whether it was to end before its projections did.
    """

    def __init__(self, registrations: Sequence[Registration], options: Options) -> None:
        self._options = options
        self.was_stopped = False
        self._errors: list[ProjectionError] = []
        self._stop_by: float | None = None
        self._hung: set[str] = set()
        self._stall_watch = StallWatch()
        self._look = SharedLook(decisions.STANDBY_SECONDS)
        self._startup = Startup(each.name for each in registrations)
        self._watches = watches(registrations, registry)
        self._supervisors = [self._supervisor(each) for each in registrations]
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(supervisor,),
                name=_thread_name(supervisor),
            )
            for supervisor in self._supervisors
        ]

    def run(self) -> list[ProjectionError]:
        """
        Run until all have ended; blocks.

        In the main thread SIGTERM, SIGINT and SIGHUP end them after the batch that each
        is at. A second signal ends the process, and so does a shutdown that takes too
        long; the batches under way are undone by the database.

        Returns:
            Why projections failed; empty if all were stopped or have caught up.
        """
        # This thread only waits from now on.
        close_connections()
        with self._stopped_by_signals():
            self._stall_watch.postpone()
            try:
                for thread in self._threads:
                    thread.start()
                for watch in self._watches.values():
                    watch.start()
                for thread in self._threads:
                    self._join(thread)
            finally:
                for watch in self._watches.values():
                    watch.stop()
                self._stall_watch.stop()
            if self._hung:
                end_process(HANG_STATUS)
        return self._errors

    def stop(self) -> None:
        """Let each projection's batch be its last; returns at once."""
        self.was_stopped = True
        if self._options.shutdown_timeout is not None and self._stop_by is None:
            self._stop_by = monotonic() + self._options.shutdown_timeout
        for supervisor in self._supervisors:
            supervisor.stop()
        # After these, since who waits for others looks whether it was stopped.
        self._startup.stop()

    def join(self, timeout: float) -> bool:
        """Wait for the end, at most so many seconds; return whether it came."""
        end = monotonic() + timeout
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0, end - monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _supervisor(self, registration: Registration) -> Supervisor:
        return Supervisor(
            registration,
            until_caught_up=self._options.until_caught_up,
            batch_size=self._options.batch_size,
            exclusive=self._options.exclusive,
            fail_fast=self._options.fail_fast,
            startup=self._startup,
            wait=self._options.wait,
            watch=self._watches.get(registration.application_class),
            look=self._look,
            take_over=self._options.take_over,
            goal=self._options.goal,
            hung=self._projection_hangs,
        )

    def _projection_hangs(self, supervisor: Supervisor) -> None:
        # Its thread cannot be ended, so the process has to, after the others.
        self._hung.add(_thread_name(supervisor))
        if self._stop_by is None:
            self._stop_by = monotonic() + self._shutdown_seconds()
        self.stop()

    def _is_only_hanging(self) -> bool:
        """Return whether nothing is left but what hangs."""
        return bool(self._hung) and not any(
            thread.is_alive()
            for thread in self._threads
            if thread.name not in self._hung
        )

    def _run(self, supervisor: Supervisor) -> None:
        name = supervisor.registration.name
        try:
            supervisor.run()
        except ProjectionError as error:
            self._errors.append(error)
            if self._options.fail_fast:
                self.stop()
        except BaseException as error:
            # Nothing else would notice the end of this thread.
            log(
                logger,
                logging.ERROR,
                "Projection failed",
                projection=name,
                application=supervisor.registration.application_name,
                exc_info=True,
            )
            self._errors.append(
                projection_error(supervisor.registration, error, has_begun=True)
            )
        finally:
            self._startup.ended(name)

    def _join(self, thread: threading.Thread) -> None:
        # A signal that reaches another thread, such as one of gRPC's, does not wake
        # this one, in which Python would handle it: so it wakes by itself.
        while thread.is_alive():
            thread.join(_SIGNALS_SECONDS)
            self._stall_watch.postpone()
            if self._is_only_hanging():
                end_process(HANG_STATUS)
            if self._stop_by is not None and monotonic() > self._stop_by:
                end_process(
                    HANG_STATUS if self._hung else TIMEOUT_STATUS, self._say_not_stopped
                )

    def _say_not_stopped(self) -> None:
        log(
            logger,
            logging.ERROR,
            "Not stopped in time, ending anyway",
            seconds=self._shutdown_seconds(),
            threads=",".join(each.name for each in self._threads if each.is_alive()),
        )

    def _shutdown_seconds(self) -> float:
        seconds = self._options.shutdown_timeout
        # Where one projection hangs, there is a limit for the others anyway.
        return SHUTDOWN_SECONDS if seconds is None else seconds

    def _stopped_by_signals(self) -> AbstractContextManager[None]:
        return stopped_by_signals(
            self.stop, again=lambda number: end_process(SIGNAL_STATUS + number)
        )


def _thread_name(supervisor: Supervisor) -> str:
    return f"projection-{supervisor.registration.name}"
