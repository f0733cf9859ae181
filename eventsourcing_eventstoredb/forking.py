"""
Keeping background threads out of gRPC while the process forks.

gRPC prepares itself for a fork only when no thread is inside of it. A
subscription is inside nearly always, and then neither parent nor child could use
gRPC any more. So before a fork subscriptions break off their calls, and
afterwards the parent's resume where they were. Child processes have none.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

# Seconds for which a fork is held up at most.
_LONGEST_WAIT = 2.0


class BackgroundWork(Protocol):
    """What a thread in the background does with gRPC."""

    def leave_grpc(self) -> None:
        """Break off what is under way, if it can be."""

    def is_outside_grpc(self) -> bool:
        """Tell whether it waits for something else than gRPC."""


class Gate:
    """Lets background work into gRPC, except while the process forks."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_shut = False
        self._inside: list[BackgroundWork] = []

    @contextmanager
    def inside(self, work: BackgroundWork) -> Iterator[None]:
        """Wait until no fork is under way, and let none pass meanwhile."""
        with self._changed:
            while self._is_shut:
                self._changed.wait()
            self._inside.append(work)
        try:
            yield
        finally:
            with self._changed:
                self._inside.remove(work)

    def shut(self) -> None:
        """Let nothing in, and wait until all is out."""
        with self._changed:
            self._is_shut = True
        end = time.monotonic() + _LONGEST_WAIT
        while time.monotonic() < end:
            with self._changed:
                inside = list(self._inside)
            busy = [work for work in inside if not work.is_outside_grpc()]
            for work in inside:
                work.leave_grpc()
            if not busy:
                return
            time.sleep(0.001)

    def open(self) -> None:
        """Let in who waits."""
        with self._changed:
            self._is_shut = False
            self._changed.notify_all()


gate = Gate()


def _begin_anew() -> None:
    gate.__init__()  # type: ignore[misc]


os.register_at_fork(
    before=lambda: gate.shut(),
    after_in_parent=lambda: gate.open(),
    after_in_child=_begin_anew,
)
