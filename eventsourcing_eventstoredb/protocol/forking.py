"""
Having nothing of gRPC in the process while it forks.

A child gets gRPC's memory without its threads. With a channel open it continues to
use the numbers of its parent's sockets, which by then are other files of the
child's, and with a thread in the middle of something neither side may be able to
use gRPC any more. So before a fork calls are waited for, subscriptions break off
theirs, channels are closed and gRPC ends its threads. Afterwards both sides
connect when they next need to, and the parent's subscriptions resume where they
were. Child processes have none.

None of this happens where a program is started by another one, as subprocess
does it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from eventsourcing_eventstoredb.protocol.private import GRPC_THREADS

# Seconds for which calls that are under way hold up a fork at most.
_LONGEST_WAIT = 2.0

# Seconds for which gRPC's threads hold up a fork at most. They take a few
# milliseconds, unless something else in the process uses gRPC as well.
_LONGEST_SHUTDOWN = 0.5


class Work(Protocol):
    """What a thread does with gRPC."""

    def leave_grpc(self) -> None:
        """Break off what is under way, if it can be."""

    def is_outside_grpc(self) -> bool:
        """Tell whether it waits for something else than gRPC."""


class Call:
    """A call that is over soon, or in time, and that its caller waits for."""

    def leave_grpc(self) -> None:
        """Do nothing: who waits for the answer is to get it."""

    def is_outside_grpc(self) -> bool:
        """Say that it is under way."""
        return False


_CALL = Call()


class Gate:
    """Lets threads into gRPC, except while the process forks."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        # How many forks are under way; several threads may fork.
        self._forks = 0
        self._inside: list[Work] = []
        self._thread = threading.local()

    def inside(self, work: Work = _CALL, *, at_once: bool = False) -> Inside:
        """
        Wait until no fork is under way, and hold up the next one during the block.

        A thread that is inside may enter once more.

        Args:
            work: What the thread does.
            at_once: Whether to enter though a fork is waiting, since a thread that is
                inside waits for this one.
        """
        return Inside(self, work, at_once)

    def enter(self, work: Work, at_once: bool) -> bool:
        """Wait, and enter; return False if the thread is inside already."""
        thread = self._thread
        if getattr(thread, "is_inside", False):
            return False
        with self._lock:
            while self._forks and not at_once:
                self._changed.wait()
            self._inside.append(work)
        thread.is_inside = True
        return True

    def leave(self, work: Work) -> None:
        """Leave; for :class:`Inside`."""
        self._thread.is_inside = False
        with self._lock:
            self._inside.remove(work)

    def shut(self) -> bool:
        """Let nothing in, and wait until all is out; tell whether it is, in time."""
        with self._changed:
            self._forks += 1
        end = time.monotonic() + _LONGEST_WAIT
        while True:
            with self._changed:
                inside = list(self._inside)
            busy = [work for work in inside if not work.is_outside_grpc()]
            for work in inside:
                work.leave_grpc()
            if not busy or time.monotonic() > end:
                return not busy
            time.sleep(0.001)

    def open(self) -> None:
        """Let in who waits, unless another fork is under way."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()


class Inside:
    """
    The block in which a thread is inside; made by :meth:`Gate.inside`.

    A class, since each save enters: what is made of a generator takes twice as long.
    """

    __slots__ = ("_at_once", "_gate", "_has_entered", "_work")

    def __init__(self, gate: Gate, work: Work, at_once: bool) -> None:
        self._gate = gate
        self._work = work
        self._at_once = at_once

    def __enter__(self) -> None:
        self._has_entered = self._gate.enter(self._work, self._at_once)

    def __exit__(self, *error: object) -> None:
        if self._has_entered:
            self._gate.leave(self._work)


gate = Gate()

_disconnects: list[Callable[[], None]] = []
_waits: list[Callable[[], None]] = []


def before_fork(disconnect: Callable[[], None]) -> None:
    """Have *disconnect* called before each fork, when no call is under way."""
    _disconnects.append(disconnect)


def when_disconnected(wait: Callable[[], None]) -> None:
    """Have *wait* called then, for threads that end when their channels are closed."""
    _waits.append(wait)


def _leave_grpc() -> None:
    # Where a call takes too long, its channel is left to it.
    if not gate.shut():
        return
    for prepare in (*_disconnects, *_waits):
        prepare()
    end = time.monotonic() + _LONGEST_SHUTDOWN
    while _has_grpc_threads() and time.monotonic() < end:
        time.sleep(0.001)


def _has_grpc_threads() -> bool:
    """Tell whether gRPC is still ending, which it does in threads of its own."""
    try:
        tasks = list(Path("/proc/self/task").iterdir())
    except OSError:
        # Only Linux tells.
        return False
    return any(_thread_name(task) in GRPC_THREADS for task in tasks)


def _thread_name(task: Path) -> str:
    try:
        return (task / "comm").read_text(errors="replace").strip()
    except OSError:
        # It has just ended.
        return ""


def _restart() -> None:
    gate.__init__()  # type: ignore[misc]


os.register_at_fork(
    before=_leave_grpc,
    after_in_parent=lambda: gate.open(),
    after_in_child=_restart,
)
