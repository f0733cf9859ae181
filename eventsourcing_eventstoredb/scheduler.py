"""One thread of a process that does what has to be done every few seconds."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from time import monotonic

from eventsourcing_eventstoredb.inheriting import without_inheriting
from eventsourcing_eventstoredb.logs import log

logger = logging.getLogger("eventsourcing_eventstoredb.scheduler")

THREAD_NAME = "eventstoredb-scheduler"


class Periodic:
    """
    What is called every few seconds; made by :meth:`Scheduler.every`.

    Attributes:
        call: What to call.
        seconds: From a call's end to the next one.
        due: When it is to be called next, by the monotonic clock.
        is_under_way: Whether it is being called.
    """

    def __init__(self, seconds: float, call: Callable[[], object]) -> None:
        self.call = call
        self.seconds = seconds
        self.due = monotonic() + seconds
        self.is_under_way = False


class Scheduler:
    """
    Calls functions every few seconds, all in one thread, one after the other.

    A function has to be quick, and must not wait for others: the rest waits for it.
    One that raises an error is logged, and called again.

    The thread is there as long as there is something to call. It does not keep the
    process from exiting. All methods may be called by any thread.

    Args:
        thread_name: Of its thread, no other's.
    """

    def __init__(self, thread_name: str = THREAD_NAME) -> None:
        self._thread_name = thread_name
        self._at_end: list[Callable[[], object]] = []
        self.forget()

    def forget(self) -> None:
        """Start empty, as in a process that was forked: it has no such thread."""
        # Guards all below. Reentrant, since what is collected may cancel or hasten a
        # function at any moment: also in a thread that has it.
        self._changed = threading.Condition(threading.RLock())
        self._changes = 0
        self._thread: threading.Thread | None = None
        self._periodic: list[Periodic] = []

    def at_end(self, call: Callable[[], object]) -> None:
        """Have *call* called by each thread of the scheduler before it ends."""
        self._at_end.append(call)

    def every(self, seconds: float, call: Callable[[], object]) -> Periodic:
        """Call a function every so many seconds, for the first time after as many."""
        periodic = Periodic(seconds, call)
        new = None
        with self._changed:
            self._periodic.append(periodic)
            if self._thread is None:
                new = self._thread = threading.Thread(
                    target=self._run, name=self._thread_name, daemon=True
                )
            self._note_change()
        if new is not None:
            # Without the lock: in a thread that begins a subscription may be
            # collected, which cancels its own, and a start waits for that.
            without_inheriting(new.start)
        return periodic

    def cancel(self, periodic: Periodic, *, waits: bool = True) -> None:
        """
        Call a function no more; idempotent.

        Args:
            periodic: The function, as :meth:`every` returned it.
            waits: Whether to wait for a call that is under way, and for the end of
                the thread if this was the last function. The scheduler's own thread
                never does.
        """
        thread = None
        with self._changed:
            if periodic in self._periodic:
                self._periodic.remove(periodic)
                if not self._periodic:
                    thread, self._thread = self._thread, None
                self._note_change()
            if not waits or threading.current_thread().name == self._thread_name:
                return
            self._changed.wait_for(lambda: not periodic.is_under_way)
        if thread is not None and thread.is_alive():
            thread.join()

    def hasten(self, periodic: Periodic) -> None:
        """Have a function called soon, in its turn; does not wait."""
        with self._changed:
            periodic.due = monotonic()
            self._note_change()

    def _note_change(self) -> None:
        self._changes += 1
        self._changed.notify_all()

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    if self._thread is not threading.current_thread():
                        return
                    changes = self._changes
                    periodic, pause = self._next()
                if periodic is not None:
                    self._call(periodic)
                else:
                    self._wait(changes, pause)
        finally:
            for call in self._at_end:
                call()

    def _wait(self, changes: int, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._changes != changes, min(seconds, threading.TIMEOUT_MAX)
            )

    def _next(self) -> tuple[Periodic | None, float]:
        """Return what is due, else how long nothing is."""
        following = min(self._periodic, key=lambda each: each.due, default=None)
        if following is None:
            return None, float("inf")
        pause = following.due - monotonic()
        if pause > 0:
            return None, pause
        following.is_under_way = True
        return following, 0.0

    def _call(self, periodic: Periodic) -> None:
        try:
            periodic.call()
        except Exception:
            log(
                logger,
                logging.ERROR,
                "What is done at intervals failed",
                exc_info=True,
                seconds=periodic.seconds,
            )
        finally:
            with self._changed:
                periodic.is_under_way = False
                # What was missed meanwhile is left out.
                periodic.due = monotonic() + periodic.seconds
                self._changed.notify_all()


scheduler = Scheduler()
os.register_at_fork(after_in_child=scheduler.forget)
