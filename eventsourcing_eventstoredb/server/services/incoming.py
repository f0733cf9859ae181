"""
The requests of a call, with those that have come meanwhile.

One that cannot be parsed is among them, as an error.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Final

from eventsourcing_eventstoredb.server.errors import InvalidArgumentError
from eventsourcing_eventstoredb.server.services.messages import CheckedRequests
from eventsourcing_eventstoredb.server.services.receiving import Receiver, can_receive

# What is taken in before anything is done about it.
MOST_BYTES: Final = 16 * 1024 * 1024
MOST_REQUESTS: Final = 1_000


class Requests:
    """
    The requests of a call, to be waited for until a deadline.

    Args:
        requests: What grpcio has, which blocks.
        start_thread: Runs a function in a thread that the server waits for. One is
            needed where grpcio's own cannot be used.

    Attributes:
        has_ended: Whether the client sends no more, and all was taken.
    """

    def __init__(
        self,
        requests: Iterator[Any],
        start_thread: Callable[[Callable[[], None]], object],
    ) -> None:
        # An error among them has its place in their order.
        self._requests = (
            requests.unchecked if isinstance(requests, CheckedRequests) else requests
        )
        self._start_thread = start_thread
        self.has_ended = False
        self._taken = 0
        self._is_gathering = False
        self._receiver: Receiver | None = None
        # Guards all below.
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[Any] = deque()
        self._bytes = 0
        self._is_full = False
        self._is_over = False

    def take(self, deadline: float | None) -> list[Any]:
        """Wait for requests; return none at the end, or after the deadline."""
        if self.has_ended:
            return []
        # Most calls have one request, for which nothing has to be begun.
        if not self._is_gathering and (deadline is not None or self._taken > 1):
            self._is_gathering = True
            self._gather()
        if not self._is_gathering:
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
            taken = list(self._waiting)
            self._waiting.clear()
            self._bytes = 0
            self.has_ended = not taken
            was_full, self._is_full = self._is_full, False
            if was_full:
                self._changed.notify_all()
        if was_full and self._receiver is not None:
            self._receiver.start()
        return taken

    def end(self) -> None:
        """Let who waits for requests find none; may be called by any thread."""
        with self._changed:
            self._is_over = True
            self._waiting.clear()
            self._changed.notify_all()

    def _gather(self) -> None:
        """Have requests taken in from now on, by grpcio's thread or another one."""
        if can_receive(self._requests):
            self._receiver = Receiver(self._requests, self._put)
            self._receiver.start()
        else:
            self._start_thread(self._pump)

    def _put(self, request: Any, size: int) -> bool:
        """Note a request, or the end; return whether another one is to be taken now."""
        with self._changed:
            if request is None:
                self._is_over = True
            elif not self._is_over:
                self._waiting.append(request)
                self._bytes += size
                self._is_full = (
                    len(self._waiting) >= MOST_REQUESTS or self._bytes >= MOST_BYTES
                )
            self._changed.notify_all()
            return not (self._is_over or self._is_full)

    def _pump(self) -> None:
        try:
            for request in self._requests:
                is_error = isinstance(request, InvalidArgumentError)
                if not self._put(request, 0 if is_error else request.ByteSize()):
                    with self._changed:
                        while self._is_full and not self._is_over:
                            self._changed.wait()
                        if self._is_over:
                            return
        except Exception:
            # The call is over, which is how grpcio ends the iteration.
            return
        finally:
            self._put(None, 0)
