"""A bounded buffer between the thread that receives and the one that consumes."""

from __future__ import annotations

import threading
import time
from collections import deque

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
        self._items: deque[Notification] = deque()
        self._bytes_put = 0
        self._bytes_taken = 0
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
        items = self._items
        items.append(notification)
        self._bytes_put += len(notification.state)
        # Without the lock, which would cost as much as the rest. Either this
        # thread sees that the other waits, or that one sees what was added.
        wake_at = self._wake_at
        if wake_at and (self._is_live or len(items) >= wake_at):
            with self._lock:
                self._wake_at = 0
                self._ready.notify()
        if self._has_no_room():
            self._wait_for_room()

    def fail(self, error: BaseException) -> None:
        """Let the consumer have *error*, after what was put before."""
        with self._lock:
            self._error = error
            self._ready.notify()

    def close(self) -> None:
        """Hand out nothing more and wake whoever waits; may be called repeatedly."""
        with self._lock:
            self._is_closed = True
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
        items = self._items
        if not items:
            with self._lock:
                self._wait_for_items(max_events, timeout)
            if not items and self._error is not None and not self._is_closed:
                raise self._error
        if self._is_closed:
            return []
        taken = [items.popleft() for _ in range(min(len(items), max_events))]
        self._bytes_taken += sum([len(item.state) for item in taken])
        if self._is_full:
            with self._lock:
                self._room.notify()
        return taken

    def _has_no_room(self) -> bool:
        return (
            len(self._items) >= self.max_events
            or self._bytes_put - self._bytes_taken >= self.max_bytes
        )

    def _wait_for_room(self) -> None:
        with self._lock:
            self._is_full = True
            self._ready.notify()
            while self._has_no_room() and not self._is_closed:
                self._room.wait()
            self._is_full = False

    def _wait_for_items(self, max_events: int, timeout: float | None) -> None:
        end = None if timeout is None else time.monotonic() + timeout
        while self._error is None and not self._is_closed:
            self._wake_at = 1
            if self._items:
                break
            remaining = None if end is None else end - time.monotonic()
            if remaining is not None and remaining <= 0:
                break
            self._ready.wait(remaining)
        self._wake_at = 0
        if not self._items:
            return
        chunk = min(_CHUNK, max_events)
        if self._is_live or self._error is not None or len(self._items) >= chunk:
            return
        self._wake_at = chunk
        self._ready.wait(_LINGER)
        self._wake_at = 0
