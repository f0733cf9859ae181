"""
Ending calls that are late, whatever gRPC makes of their deadlines.

gRPC ends a call at its deadline, nearly always. What it does not end is cancelled here,
and if that does not help either, its channel is closed, which has ended every call that
was seen to hang. One thread of the process looks after all calls, and sleeps until
the first of them could be late; it is not woken for calls that are answered in time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from eventsourcing_eventstoredb.inheriting import without_inheriting
from eventsourcing_eventstoredb.protocol.forking import when_disconnected

# Seconds after a deadline that gRPC has for keeping it, and after a call was cancelled.
GRACE_SECONDS = 0.5

THREAD_NAME = "store-call-watch"


class Breakable(Protocol):
    """What a call goes over."""

    def close(self) -> None:
        """Break off all calls over it; may block."""


class Watch:
    """
    A call that is under way; made by :meth:`Watcher.begin`.

    Attributes:
        due: When the call is late, by the monotonic clock. Its caller may move it on.
        is_late: Whether it was broken off for being late.
        look: Asked when it is due; returns how much longer the call may take, or None.
    """

    __slots__ = ("_call", "_connection", "due", "is_late", "look")

    def __init__(
        self,
        call: Any,
        connection: Breakable,
        seconds: float,
        look: Callable[[], float | None] | None = None,
    ) -> None:
        self._call = call
        self._connection = connection
        self.look = look
        self.due = monotonic() + seconds
        self.is_late = False

    def act(self) -> bool:
        """Do what is due; return whether more may have to be done."""
        if not self.is_late:
            longer = None
            if self.look is not None:
                # One that fails is no answer.
                with suppress(Exception):
                    longer = self.look()
            if longer is not None:
                self.due = monotonic() + longer
                return True
            self.is_late = True
            self.due = monotonic() + GRACE_SECONDS
            with suppress(Exception):
                self._call.cancel()
            return True
        # Closing waits for calls that gRPC may not be able to end.
        threading.Thread(target=self._connection.close, daemon=True).start()
        return False


class Watcher:
    """Looks after calls; all methods may be called by any thread."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start empty, as in a process that was forked: it has no such thread."""
        # Guards all below. Reentrant, since a read may be collected, which ends its
        # watch, at any moment: also in a thread that has it.
        self._changed = threading.Condition(threading.RLock())
        self._watches: set[Watch] = set()
        self._thread: threading.Thread | None = None
        self._wakes_at = 0.0

    def begin(
        self,
        call: Any,
        connection: Breakable,
        seconds: float,
        look: Callable[[], float | None] | None = None,
    ) -> Watch:
        """
        Break off a call that is not over in so many seconds, and then its connection.

        Args:
            call: What can be cancelled.
            connection: What can be closed, if that does not help.
            seconds: How long the call may take.
            look: Asked when they are over; returns how much longer the call may take,
                or None. It must not block.
        """
        watch = Watch(call, connection, seconds, look)
        new = None
        with self._changed:
            self._watches.add(watch)
            if self._thread is None:
                self._wakes_at = watch.due
                new = self._thread = threading.Thread(
                    target=self._run, name=THREAD_NAME, daemon=True
                )
            elif watch.due < self._wakes_at:
                self._wakes_at = watch.due
                self._changed.notify_all()
        if new is not None:
            # Without the lock: in a thread that begins a read may be collected, which
            # ends its watch, and a start waits for that.
            without_inheriting(new.start)
        return watch

    def end(self, watch: Watch) -> None:
        """Note that a call is over; idempotent."""
        with self._changed:
            self._watches.discard(watch)

    def rest(self) -> None:
        """End the thread, if there is no call to look after."""
        with self._changed:
            thread = self._thread
            if thread is None or self._watches:
                return
            self._thread = None
            self._changed.notify_all()
        if thread.is_alive():
            thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while (pause := self._wakes_at - monotonic()) > 0:
                    if self._thread is not threading.current_thread():
                        return
                    self._changed.wait(min(pause, threading.TIMEOUT_MAX))
                now = monotonic()
                late = [watch for watch in tuple(self._watches) if watch.due <= now]
            done = [watch for watch in late if not watch.act()]
            with self._changed:
                self._watches.difference_update(done)
                if not self._watches:
                    if self._thread is threading.current_thread():
                        self._thread = None
                    return
                self._wakes_at = min(watch.due for watch in tuple(self._watches))


watcher = Watcher()
when_disconnected(watcher.rest)
os.register_at_fork(after_in_child=watcher.forget)
