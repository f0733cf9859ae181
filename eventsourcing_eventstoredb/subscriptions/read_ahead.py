"""A bounded buffer between the thread that receives and the one that consumes."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

# Most bytes of events that a subscription has in memory, besides those in process.
MAX_BYTES = 16 * 1024 * 1024

# While catching up, a consumer that found nothing is given so many at once, or
# what came in so many seconds: else the two threads would take turns for each.
_CHUNK = 256
_LINGER = 0.005


class ReadAhead(Generic[T]):
    """
    Holds what was received and not yet taken, up to a number and a size.

    One thread puts, one takes; any may close.

    Args:
        max_events: Most items to hold.
        max_bytes: Most bytes of them to hold; a single larger one passes.
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.max_events = max_events
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._items: deque[tuple[T, int]] = deque()
        self._items_put = 0
        self._bytes_put = 0
        self._bytes_taken = 0
        self._wake_at = 0
        self._is_live = False
        self._is_full = False
        self._is_closed = False
        self._is_finished = False
        self._error: BaseException | None = None

    @property
    def items_put(self) -> int:
        """How many items were put so far, taken or not."""
        return self._items_put

    @property
    def is_full(self) -> bool:
        """Whether the receiving thread waits for room."""
        return self._is_full

    @property
    def is_live(self) -> bool:
        """Whether what comes next is new, so that a consumer who has all caught up."""
        return self._is_live

    @property
    def is_closed(self) -> bool:
        """Whether nothing is put or taken any more."""
        return self._is_closed

    @property
    def has_ended(self) -> bool:
        """Whether nothing is there, and nothing more will be."""
        is_over = self._is_closed or self._is_finished or self._error is not None
        return is_over and (self._is_closed or not self._items)

    def set_live(self, is_live: bool) -> None:
        """Say whether each item is handed on at once, not in chunks."""
        self._is_live = is_live
        # Without the lock, as in put: some receivers say it before each item.
        if is_live and self._wake_at:
            with self._lock:
                self._ready.notify()

    def put(self, item: T, size: int) -> None:
        """
        Add an item; blocks while there is no room, until closed.

        Args:
            item: What to add.
            size: Its size in bytes.
        """
        items = self._items
        self._items_put += 1
        self._bytes_put += size
        items.append((item, self._bytes_put))
        # Without the lock, which would cost as much as the rest. Either this
        # thread sees that the other waits, or that one sees what was added.
        wake_at = self._wake_at
        if wake_at and (self._is_live or len(items) >= wake_at):
            with self._lock:
                self._wake_at = 0
                self._ready.notify()
        if self._has_no_room():
            self._wait_for_room()

    def finish(self) -> None:
        """Let the consumer know, after what was put before, that nothing more comes."""
        with self._lock:
            self._is_finished = True
            self._ready.notify()

    def fail(self, error: BaseException) -> None:
        """Let the consumer have *error*, after what was put before."""
        with self._lock:
            self._error = error
            self._ready.notify()

    def close(self) -> None:
        """Hand out nothing more and wake all that wait; may be called repeatedly."""
        with self._lock:
            self._is_closed = True
            self._ready.notify_all()
            self._room.notify_all()

    def take(
        self,
        max_events: int,
        timeout: float | None,
        *,
        max_bytes: int = sys.maxsize,
        unless_live: bool = False,
    ) -> list[T]:
        """
        Return what is there, in order; blocks until something is.

        Args:
            max_events: Most items to return.
            timeout: Seconds to wait; None for no limit.
            max_bytes: Bytes at which to return no more; at least one is returned.
            unless_live: Whether to wait only while catching up.

        Returns:
            An empty list when the time is over, there is nothing to wait for, or
            the buffer was closed or has ended.

        Raises:
            BaseException: What :meth:`fail` was given.
        """
        items = self._items
        if not items:
            with self._lock:
                self._wait_for_items(max_events, timeout, unless_live)
            if not items and self._error is not None and not self._is_closed:
                raise self._error
        if self._is_closed:
            return []
        taken: list[T] = []
        limit = self._bytes_taken + max_bytes
        for _ in range(min(len(items), max_events)):
            item, upto = items.popleft()
            taken.append(item)
            if upto >= limit:
                break
        if taken:
            self._bytes_taken = upto
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

    def _wait_for_items(
        self, max_events: int, timeout: float | None, unless_live: bool
    ) -> None:
        end = None if timeout is None else time.monotonic() + timeout
        while not (self._error or self._is_finished or self._is_closed):
            self._wake_at = 1
            if self._items or (unless_live and self._is_live):
                break
            remaining = None if end is None else end - time.monotonic()
            if remaining is not None and remaining <= 0:
                break
            self._ready.wait(remaining)
        if self._items:
            self._wake_at = min(_CHUNK, max_events)
            if not self._is_whole(max_events):
                self._ready.wait(_LINGER)
        self._wake_at = 0

    def _is_whole(self, max_events: int) -> bool:
        """Return whether what is there is not worth waiting for more."""
        return (
            self._is_live
            or self._is_finished
            or self._error is not None
            or len(self._items) >= min(_CHUNK, max_events)
        )
