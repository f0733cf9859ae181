"""
Group commit: what waits to be written is written in one transaction.

A commit waits for the disk, and how much it writes matters little. So a thread that
writes takes along what others have waiting, and while that waits for the disk, the
next group gathers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

# So many at most are written at once: the first of them waits for all.
MOST_AT_ONCE: Final = 500


class Work:
    """
    Something to be written.

    Attributes:
        outcome: What has become of it, or the exception; of use when it is done.
        is_done: Whether it has been written, durably, or will not be.
    """

    __slots__ = ("is_done", "outcome")

    def __init__(self) -> None:
        self.outcome: Any = None
        self.is_done = False


W = TypeVar("W", bound=Work)


class GroupCommit(Generic[W]):
    """
    Has works of all threads written in groups, in the order in which they came.

    Args:
        write: Writes a group, blocks, and sets the outcome of each.
    """

    def __init__(self, write: Callable[[Sequence[W]], None]) -> None:
        self._write = write
        # Held by the thread that writes.
        self._turn = threading.RLock()
        # Guards the next.
        self._lock = threading.Lock()
        self._waiting: list[W] = []

    def run(self, works: Sequence[W]) -> None:
        """Have works written, in their order; blocks until all are done."""
        with self._lock:
            self._waiting.extend(works)
        while not all(work.is_done for work in works):
            with self._turn:
                if works[-1].is_done:
                    return
                with self._lock:
                    group = self._waiting[:MOST_AT_ONCE]
                    del self._waiting[:MOST_AT_ONCE]
                try:
                    self._write(group)
                except BaseException as error:
                    for work in group:
                        work.outcome = error
                    raise
                finally:
                    for work in group:
                        work.is_done = True
