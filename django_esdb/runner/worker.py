"""All projections of a process, each with its own thread and its own fate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from signal import SIGINT, SIGTERM, Signals, signal
from types import FrameType
from typing import Any

from django_esdb.exceptions import ProjectionError
from django_esdb.registry import Registration
from django_esdb.runner.supervisor import Supervisor

_SIGNALS_SECONDS = 0.2


def run_projections(
    registrations: Sequence[Registration],
    *,
    until_caught_up: bool = False,
    batch_size: int | None = None,
    started: Callable[[Registration, int | None], None] = lambda r, p: None,
    failed: Callable[[Registration, ProjectionError], None] = lambda r, e: None,
) -> list[ProjectionError]:
    """
    Run projections side by side; one that fails does not stop the others.

    Blocks until all have ended. In the main thread SIGTERM and SIGINT end them
    after the event that each is at; a second signal ends the process.

    Args:
        registrations: The projections to run.
        until_caught_up: End when all events recorded so far are processed.
        batch_size: Most events in a transaction; by default the setting's.
        started: Called with a projection and its position once it runs.
        failed: Called with a projection and why it stopped, when it does.

    Returns:
        Why projections failed; empty if all were stopped or have caught up.
    """
    errors: list[ProjectionError] = []

    def run(supervisor: Supervisor) -> None:
        try:
            supervisor.run()
        except ProjectionError as error:
            errors.append(error)
            failed(supervisor.registration, error)

    supervisors = [
        Supervisor(
            registration,
            until_caught_up=until_caught_up,
            batch_size=batch_size,
            started=lambda position, of=registration: started(of, position),  # type: ignore[misc]
        )
        for registration in registrations
    ]
    threads = [
        threading.Thread(
            target=run,
            args=(supervisor,),
            name=f"projection-{supervisor.registration.name}",
        )
        for supervisor in supervisors
    ]
    with _stopped_by_signals(supervisors):
        for thread in threads:
            thread.start()
        for thread in threads:
            _join(thread)
    return errors


def _join(thread: threading.Thread) -> None:
    # A signal that reaches another thread, such as one of gRPC's, does not wake
    # this one, in which Python would handle it: so it wakes by itself.
    while thread.is_alive():
        thread.join(_SIGNALS_SECONDS)


@contextmanager
def _stopped_by_signals(supervisors: Sequence[Supervisor]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[Signals, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        # Whoever insists gets what the signal usually does.
        for each, handler in previous.items():
            signal(each, handler)
        # A supervisor's lock may be held by the code that this interrupted.
        threading.Thread(target=_stop_all, args=(supervisors,)).start()

    for each in (SIGTERM, SIGINT):
        previous[each] = signal(each, stop)
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal(each, handler)


def _stop_all(supervisors: Sequence[Supervisor]) -> None:
    for supervisor in supervisors:
        supervisor.stop()
