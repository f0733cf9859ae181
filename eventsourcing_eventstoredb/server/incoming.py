"""The requests of a call, with those that have come meanwhile."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Final

# What is taken in before anything is done about it.
MOST_BYTES: Final = 16 * 1024 * 1024
MOST_REQUESTS: Final = 1_000


class Requests:
    """
    The requests of a call, to be waited for until a deadline.

    Args:
        requests: What grpcio has, which blocks.
        start_thread: Runs a function in a thread that the server waits for.

    Attributes:
        has_ended: Whether the client sends no more, and all was taken.
    """

    def __init__(
        self,
        requests: Iterator[Any],
        start_thread: Callable[[Callable[[], None]], object],
    ) -> None:
        self._requests = requests
        self._start_thread = start_thread
        self.has_ended = False
        self._taken = 0
        self._is_pumping = False
        # Guards all below.
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self._is_over = False

    def take(self, deadline: float | None) -> list[Any]:
        """Wait for requests; return none at the end, or after the deadline."""
        if self.has_ended:
            return []
        # Most calls have one request, and need no other thread.
        if not self._is_pumping and (deadline is not None or self._taken > 1):
            self._is_pumping = True
            self._start_thread(self._pump)
        if not self._is_pumping:
            request = next(self._requests, None)
            self._taken += 1
            self.has_ended = request is None
            return [] if request is None else [request]
        with self._changed:
            while not self._waiting and not self._is_over:
                left = None if deadline is None else deadline - monotonic()
                if left is not None and left <= 0:
                    return []
                self._changed.wait(left)
            taken = [request for request, _ in self._waiting]
            self._waiting.clear()
            self._bytes = 0
            self.has_ended = not taken
            self._changed.notify_all()
            return taken

    def end(self) -> None:
        """Let who waits for requests find none; may be called by any thread."""
        with self._changed:
            self._is_over = True
            self._waiting.clear()
            self._changed.notify_all()

    def _pump(self) -> None:
        try:
            for request in self._requests:
                size = request.ByteSize()
                with self._changed:
                    while not self._is_over and not self._has_room(size):
                        self._changed.wait()
                    if self._is_over:
                        return
                    self._waiting.append((request, size))
                    self._bytes += size
                    self._changed.notify_all()
        except Exception:
            # The call is over, which is how grpcio ends the iteration.
            return
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        return not self._waiting or (
            len(self._waiting) < MOST_REQUESTS and self._bytes + size <= MOST_BYTES
        )
