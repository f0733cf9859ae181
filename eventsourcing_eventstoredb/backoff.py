"""Trying again what may succeed later: the one loop, and its pauses."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Backoff:
    """
    Pauses between attempts, which grow and vary.

    They vary by a quarter, so that many clients of a server that comes back do
    not all knock at the same moment.

    Args:
        first: Seconds of the first pause.
        longest: Seconds that no pause exceeds.
    """

    def __init__(self, first: float = 0.05, longest: float = 10.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def next_pause(self) -> float:
        """Return the seconds to wait before the next attempt."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause * random.uniform(0.75, 1.0)  # noqa: S311  (no secret)

    def reset(self) -> None:
        """Begin with short pauses again."""
        self._next = self._first


def keep_trying(
    attempt: Callable[[], T],
    pause_after: Callable[[Exception], float | None],
    wait: Callable[[float], bool],
) -> T | None:
    """
    Call *attempt* until it succeeds, fails for good, or waiting is ended; blocks.

    This is the only loop of its kind: what differs from use to use is who decides
    and who waits.

    Args:
        attempt: What may fail.
        pause_after: Gets what it raised. Returns the seconds to wait before the
            next attempt, or None to have the error raised.
        wait: Waits so many seconds; returns whether to go on.

    Returns:
        What *attempt* returned; None if waiting was ended.

    Raises:
        Exception: What *attempt* raised and *pause_after* had no pause for.
    """
    while True:
        try:
            return attempt()
        except Exception as error:
            pause = pause_after(error)
            if pause is None:
                raise
        if not wait(pause):
            return None
