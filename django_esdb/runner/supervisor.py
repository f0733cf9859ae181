"""What outlives a term: whether and when a projection runs again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.db import connections

from django_esdb.exceptions import DjangoEsdbError, ProjectionError
from django_esdb.registry import Registration
from django_esdb.runner.processor import is_transient
from django_esdb.runner.projection_runner import ProjectionRunner
from eventsourcing_eventstoredb.text import one_line

logger = logging.getLogger("django_esdb.runner")

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# With --until-caught-up somebody waits for the end.
MAX_FAILED_TERMS = 5

_CAUGHT_UP_POLL_SECONDS = 0.05


class Supervisor:
    """
    Runs one projection until it is stopped, has caught up or fails for good.

    A transient failure, such as a lost connection, is followed by another
    term, from the position in the database, after a pause that grows. A term
    in which the position moved makes the pauses short again.

    Args:
        registration: The projection to run.
        until_caught_up: Whether to end when all events that were recorded when
            it began are processed.
        batch_size: Most events in a transaction; by default the setting's.
        started: Called with the projection's position once it runs first.
    """

    def __init__(
        self,
        registration: Registration,
        *,
        until_caught_up: bool = False,
        batch_size: int | None = None,
        started: Callable[[int | None], None] = lambda position: None,
    ) -> None:
        self.registration = registration
        self.until_caught_up = until_caught_up
        self.batch_size = batch_size
        self._started = started
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._runner: ProjectionRunner | None = None
        self._has_run = False
        self._head: int | None = None
        self._reached: int | None = None

    def stop(self) -> None:
        """Let the event that is being processed be the last; returns at once."""
        with self._lock:
            self._stopping.set()
            if self._runner is not None:
                self._runner.stop()

    def run(self) -> None:
        """
        Run terms; blocks until stopped, caught up or failed.

        Raises:
            ProjectionError: The projection failed and would fail again, or it
                could not be begun. The text is one line.
        """
        try:
            self._run_terms()
        finally:
            connections.close_all()

    def _run_terms(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        failed_terms = 0
        while not self._stopping.is_set():
            before = self._reached
            try:
                self._run_term()
                return
            except Exception as error:
                failed_terms = 1 if self._reached != before else failed_terms + 1
                if not self._may_go_on(error, failed_terms):
                    raise self._failure(error) from error
                if failed_terms == 1:
                    pause = FIRST_PAUSE_SECONDS
                logger.warning(
                    "Projection interrupted, trying again in %.1f s: "
                    "projection=%s error=%s",
                    pause,
                    self.registration.name,
                    one_line(error),
                )
                connections.close_all()
                self._stopping.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _may_go_on(self, error: Exception, failed_terms: int) -> bool:
        # What cannot even begin is more likely wrong than away for a moment.
        return (
            self._has_run
            and is_transient(error)
            and not (self.until_caught_up and failed_terms >= MAX_FAILED_TERMS)
        )

    def _failure(self, error: Exception) -> ProjectionError:
        if isinstance(error, ProjectionError):
            return error
        verb = "failed" if self._has_run else "cannot run"
        name = "" if isinstance(error, DjangoEsdbError) else f"{type(error).__name__}: "
        return ProjectionError(
            f"Projection {self.registration.name!r} {verb}: {name}{one_line(error)}"
        )

    def _run_term(self) -> None:
        with ProjectionRunner(
            application_class=self.registration.application_class,
            projection_class=self.registration.projection_class,
            view_class=self.registration.view_class,
            env=self.registration.env(),
            batch_size=self.batch_size,
        ) as runner:
            with self._lock:
                self._runner = runner
                if self._stopping.is_set():
                    runner.stop()
            try:
                self._follow(runner)
            finally:
                with self._lock:
                    self._runner = None
                self._reached = runner.view.max_tracking_id(runner.app.name)

    def _follow(self, runner: ProjectionRunner) -> None:
        """Stay with a runner until its end; leaving it raises its error."""
        self._reached = runner.view.max_tracking_id(runner.app.name)
        if not self._has_run:
            if self.until_caught_up:
                self._head = runner.app.recorder.max_notification_id()
            self._has_run = True
            self._started(self._reached)
        if not self.until_caught_up:
            runner.run_forever()
            return
        while not runner.is_interrupted.is_set():
            if runner.is_caught_up(self._head):
                return
            runner.run_forever(timeout=_CAUGHT_UP_POLL_SECONDS)
