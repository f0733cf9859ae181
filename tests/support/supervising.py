"""Supervisors in threads of the test's own process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django_esdb import signals
from django_esdb.exceptions import EventError
from django_esdb.models import ProjectionTracking
from django_esdb.registry import Registration
from django_esdb.runner import Options, Supervisor, Worker
from tests.support.patience import SECONDS, wait_until


def catch_up(registration: Registration) -> None:
    """Run a projection until it has caught up."""
    Supervisor(registration, until_caught_up=True).run()


@contextmanager
def working(*registrations: Registration, **options: Any) -> Iterator[None]:
    """Run projections as a process does, with a worker's options, until the end."""
    worker = Worker(registrations, Options(**options))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(SECONDS)
    assert not thread.is_alive(), "it does not stop"


class Running(Supervisor):
    """
    A supervisor, and what it said.

    Attributes:
        events: ``started``, ``standing by`` and ``paused``, in order.
        pauses: Why it was paused.
        error: What it ended with.
    """

    def __init__(self, registration: Registration, **options: Any) -> None:
        super().__init__(registration, **options)
        self.events: list[str] = []
        self.pauses: list[EventError] = []
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run_and_keep_error)
        sender = registration.projection_class
        signals.projection_started.connect(self._note_start, sender)
        signals.standing_by.connect(self._note_standby, sender)
        signals.projection_paused.connect(self._note_pause, sender)

    def wait_for(self, event: str, count: int = 1) -> None:
        """Wait until it has said so often that something happened."""
        wait_until(
            lambda: self.events.count(event) >= count or not self.thread.is_alive()
        )
        if self.error is not None:
            raise self.error
        assert self.events.count(event) >= count, self.events

    def end(self) -> None:
        """Stop it, and wait for its end."""
        self.stop()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive(), "it does not stop"

    def _note_start(self, **kwargs: Any) -> None:
        self._note("started")

    def _note_standby(self, *, owner: str, **kwargs: Any) -> None:
        if owner:
            self._note("standing by")

    def _note_pause(self, *, error: EventError, **kwargs: Any) -> None:
        if self._is_this_ones():
            self.pauses.append(error)
        self._note("paused")

    def _note(self, event: str) -> None:
        if self._is_this_ones():
            self.events.append(event)

    def _is_this_ones(self) -> bool:
        """Tell whether a signal is not of another supervisor of the projection."""
        return threading.current_thread() is self.thread

    def _run_and_keep_error(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self.error = error


@contextmanager
def running(registration: Registration, **options: Any) -> Iterator[Running]:
    """
    Run a projection in a thread until the block ends.

    Raises:
        BaseException: What the projection ended with.
    """
    supervisor = Running(registration, **options)
    supervisor.thread.start()
    try:
        wait_until(lambda: supervisor.events or not supervisor.thread.is_alive())
        yield supervisor
    finally:
        supervisor.end()
    if supervisor.error is not None:
        raise supervisor.error


def tracking() -> ProjectionTracking:
    """Return the one tracking row that there is."""
    return ProjectionTracking.objects.get()
