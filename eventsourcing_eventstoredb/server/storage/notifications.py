"""
Waking the threads that wait for new events.

A listener has one flag. A waiting thread clears it *before* looking at the log, so an
event that is committed between the look and the wait sets it again and is not missed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable


class Listener:
    """
    Waits for commits that touch certain streams, or any stream.

    Args:
        streams: Names of streams; none means all.
    """

    def __init__(self, *streams: str) -> None:
        self.streams: tuple[str | None, ...] = streams or (None,)
        self._flag = threading.Event()
        self._is_closed = False

    def clear(self) -> None:
        """Forget what was heard. Call it before looking at the log."""
        self._flag.clear()

    def wake(self) -> None:
        """Let `wait` return."""
        self._flag.set()

    def close(self) -> None:
        """Let `wait` return False, now and ever after."""
        self._is_closed = True
        self._flag.set()

    def wait(self, timeout: float | None = None) -> bool:
        """
        Block until woken, closed, or *timeout* seconds have passed.

        Returns:
            Whether to continue: False once the listener is closed.
        """
        if not self._is_closed:
            self._flag.wait(timeout)
        return not self._is_closed


class Notifier:
    """Knows the listeners of one log. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Replaced, never changed, so that `notify` needs no lock.
        self._listeners: dict[str | None, tuple[Listener, ...]] = {}

    def add(self, listener: Listener) -> None:
        """Wake *listener* from now on, after each commit that concerns it."""
        with self._lock:
            listeners = dict(self._listeners)
            for stream in listener.streams:
                listeners[stream] = (*listeners.get(stream, ()), listener)
            self._listeners = listeners

    def remove(self, listener: Listener) -> None:
        """Forget *listener*; harmless when it is not known."""
        with self._lock:
            listeners = dict(self._listeners)
            for stream in listener.streams:
                known = listeners.pop(stream, ())
                rest = tuple(one for one in known if one is not listener)
                if rest:
                    listeners[stream] = rest
            self._listeners = listeners

    def notify(self, streams: Iterable[str]) -> None:
        """Wake the listeners of *streams* and those of all streams."""
        listeners = self._listeners
        for listener in listeners.get(None, ()):
            listener.wake()
        for stream in streams:
            for listener in listeners.get(stream, ()):
                listener.wake()
