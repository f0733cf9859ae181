"""One thread of a process that does what has to be done every few seconds."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from django.db import connections

from django_esdb.db.connections import ConnectionKeeper

logger = logging.getLogger("django_esdb.runner")


class Periodic:
    """
    What is called every few seconds; made by :meth:`Scheduler.every`.

    Attributes:
        call: What to call.
        seconds: From a call's end to the next one.
        due: When it will be called next, by the monotonic clock.
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

    A function must be quick, and not wait for others: the rest waits for it. One
    that raises an error is logged, and called again. Database connections that they
    use are this thread's own, and closed when they are old or nothing is due for long.

    The thread is there while the scheduler is in use, from the first function on.
    All methods may be called by any thread.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin empty, as in a process that was forked: it has no such thread."""
        # Guards all below.
        self._changed = threading.Condition()
        self._changes = 0
        self._users = 0
        self._thread: threading.Thread | None = None
        self._periodic: list[Periodic] = []

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the thread while the block runs; the last user waits for its end."""
        with self._changed:
            self._users += 1
        try:
            yield
        finally:
            thread = None
            with self._changed:
                self._users -= 1
                if self._users == 0:
                    thread, self._thread = self._thread, None
                    self._note_change()
            if thread is not None:
                thread.join()

    def every(self, seconds: float, call: Callable[[], object]) -> Periodic:
        """
        Call a function every so many seconds, for the first time after as many.

        Raises:
            RuntimeError: This was not used within :meth:`in_use`.
        """
        periodic = Periodic(seconds, call)
        with self._changed:
            if not self._users:
                msg = "every() must be called within in_use()"
                raise RuntimeError(msg)
            self._periodic.append(periodic)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="projections-scheduler"
                )
                self._thread.start()
            self._note_change()
        return periodic

    def cancel(self, periodic: Periodic) -> None:
        """Call it no more; waits for a call that is under way. Idempotent."""
        with self._changed:
            if periodic in self._periodic:
                self._periodic.remove(periodic)
                self._note_change()
            if threading.current_thread() is not self._thread:
                self._changed.wait_for(lambda: not periodic.is_under_way)

    def _note_change(self) -> None:
        self._changes += 1
        self._changed.notify_all()

    def _run(self) -> None:
        keeper = ConnectionKeeper()
        try:
            while True:
                with self._changed:
                    if self._thread is not threading.current_thread():
                        return
                    changes = self._changes
                    periodic, pause = self._next()
                if periodic is not None:
                    keeper.begin_work()
                    self._call(periodic)
                    continue
                keeper.end_work(pause)
                self._wait(changes, pause)
        finally:
            connections.close_all()

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
            logger.exception("What is done every %s s failed", periodic.seconds)
        finally:
            with self._changed:
                periodic.is_under_way = False
                # What was missed meanwhile is left out.
                periodic.due = monotonic() + periodic.seconds
                self._changed.notify_all()


scheduler = Scheduler()
os.register_at_fork(after_in_child=scheduler.forget)
