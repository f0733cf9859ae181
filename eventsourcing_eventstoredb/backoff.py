"""Trying again what may succeed later: the one loop, and its pauses."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


# Doubling as often exceeds any pause; further on numbers only become unwieldy.
_MOST_DOUBLINGS = 60


class Backoff:
    """
    Pauses between attempts, which grow and vary.

    Unless said otherwise they vary by a quarter, so that many clients of a server
    that comes back do not all knock at the same moment.

    Args:
        first: Seconds of the first pause.
        longest: Seconds that no pause exceeds.
        spread: By which part a pause may be shorter; 0 for none.
    """

    def __init__(
        self, first: float = 0.05, longest: float = 10.0, spread: float = 0.25
    ) -> None:
        self._first = first
        self._longest = longest
        self._spread = spread
        self._taken = 0

    def next_pause(self) -> float:
        """Return the seconds to wait before the next attempt."""
        self._taken += 1
        return self.varied(self.nth_pause(self._taken))

    def nth_pause(self, number: int) -> float:
        """Return the seconds of the first, second, ... pause, before they vary."""
        doublings = min(max(number - 1, 0), _MOST_DOUBLINGS)
        return min(self._first * 2.0**doublings, self._longest)

    def varied(self, seconds: float) -> float:
        """Return a pause of at most so many seconds, another each time."""
        return seconds * random.uniform(1 - self._spread, 1.0)  # noqa: S311  (no secret)

    def reset(self) -> None:
        """Begin with short pauses again."""
        self._taken = 0


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
        wait: Waits so many seconds; returns whether to continue.

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
