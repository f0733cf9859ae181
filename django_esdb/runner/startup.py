"""Which of a process's projections could begin, and which should try again."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable


class Startup:
    """
    Tells what is wrong for good from what was away for a moment.

    Where none of a process's projections can begin, the process had better end and
    say why. Where another one could, it would be left running without those that
    could not, so these try again. Used by the projections' threads.

    Args:
        keys: One for each projection.
    """

    def __init__(self, keys: Iterable[Hashable]) -> None:
        self._undecided = set(keys)
        self._has_begun = False
        self._is_stopping = False
        self._changed = threading.Condition()

    def begun(self, key: Hashable) -> None:
        """Note that a projection runs, or stands by."""
        with self._changed:
            self._has_begun = True
            self._decide(key)

    def ended(self, key: Hashable) -> None:
        """Note that a projection has ended, for whatever reason."""
        with self._changed:
            self._decide(key)

    def stop(self) -> None:
        """Have none try again."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()

    def may_try_again(self, key: Hashable) -> bool:
        """Wait until it is known whether another one could begin; return that."""
        with self._changed:
            self._decide(key)
            self._changed.wait_for(
                lambda: self._has_begun or not self._undecided or self._is_stopping
            )
            return self._has_begun and not self._is_stopping

    def _decide(self, key: Hashable) -> None:
        self._undecided.discard(key)
        self._changed.notify_all()
