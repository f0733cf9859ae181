"""A bounded buffer between the thread that receives and the one that consumes."""

from __future__ import annotations

import threading
import time

from eventsourcing.persistence import Notification

# While catching up, a consumer that found nothing is given so many at once, or
# what came in so many seconds: else the two threads would take turns for each.
_CHUNK = 256
_LINGER = 0.005


class ReadAhead:
    """
    Holds what was received and not yet taken, up to a number and a size.

    One thread puts, one takes; any may close.

    Args:
        max_events: Most notifications to hold.
        max_bytes: Most bytes of their states to hold; a single larger one passes.
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.max_events = max_events
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._items: list[Notification] = []
        self._bytes = 0
        self._wake_at = 0
        self._is_live = False
        self._is_full = False
        self._is_closed = False
        self._error: BaseException | None = None

    @property
    def is_full(self) -> bool:
        """Whether the receiving thread waits for room."""
        return self._is_full

    @property
    def is_closed(self) -> bool:
        """Whether nothing is put or taken any more."""
        return self._is_closed

    def set_live(self, is_live: bool) -> None:
        """Say whether each notification is handed on at once, not in chunks."""
        with self._lock:
            self._is_live = is_live
            if is_live and self._items:
                self._ready.notify()

    def put(self, notification: Notification) -> None:
        """Add a notification; blocks while there is no room, until closed."""
        with self._lock:
            items = self._items
            items.append(notification)
            self._bytes += len(notification.state)
            if self._wake_at and (self._is_live or len(items) >= self._wake_at):
                self._wake_at = 0
                self._ready.notify()
            if len(items) >= self.max_events or self._bytes >= self.max_bytes:
                self._wait_for_room()

    def fail(self, error: BaseException) -> None:
        """Let the consumer have *error*, after what was put before."""
        with self._lock:
            self._error = error
            self._ready.notify()

    def close(self) -> None:
        """Drop everything and wake whoever waits; may be called repeatedly."""
        with self._lock:
            self._is_closed = True
            self._items = []
            self._ready.notify_all()
            self._room.notify_all()

    def take(self, max_events: int, timeout: float | None) -> list[Notification]:
        """
        Return what is there, in order; blocks until something is.

        Args:
            max_events: Most notifications to return.
            timeout: Seconds to wait; None for no limit.

        Returns:
            An empty list when the time is over or the buffer was closed.

        Raises:
            BaseException: What :meth:`fail` was given.
        """
        with self._lock:
            if not self._items:
                self._wait_for_items(max_events, timeout)
            items = self._items
            if not items and self._error is not None and not self._is_closed:
                raise self._error
            taken, self._items = items[:max_events], items[max_events:]
            self._bytes -= sum([len(item.state) for item in taken])
            if self._is_full:
                self._room.notify()
            return taken

    def _wait_for_room(self) -> None:
        self._is_full = True
        self._ready.notify()
        while not self._is_closed and (
            len(self._items) >= self.max_events or self._bytes >= self.max_bytes
        ):
            self._room.wait()
        self._is_full = False

    def _wait_for_items(self, max_events: int, timeout: float | None) -> None:
        end = None if timeout is None else time.monotonic() + timeout
        while not self._items and self._error is None and not self._is_closed:
            remaining = None if end is None else end - time.monotonic()
            if remaining is not None and remaining <= 0:
                return
            self._wake_at = 1
            self._ready.wait(remaining)
        chunk = min(_CHUNK, max_events)
        if self._is_live or self._error is not None or len(self._items) >= chunk:
            return
        self._wake_at = chunk
        self._ready.wait(_LINGER)
        self._wake_at = 0
