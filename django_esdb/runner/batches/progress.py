"""How far a projection has come in this process, and how fast."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

# What a rate is an average of.
RATE_SECONDS = 60.0
_SAMPLE_SECONDS = 1.0


@dataclass(frozen=True)
class Pace:
    """
    How fast a projection has been over the last minute, or since it began.

    Attributes:
        rate: Events a second.
        speed: Positions a second.
    """

    rate: float = 0.0
    speed: float = 0.0


@dataclass(frozen=True)
class _Sample:
    at: float
    processed: int
    position: int | None


class Progress:
    """
    Counts what a term has processed; written by its thread, read by any.

    Args:
        clock: Tells the time in seconds.

    Attributes:
        processed: How many events the projection has processed since it began.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Condition()
        self.processed = 0
        self._position: int | None = None
        self._began: int | None = None
        self._has_ended = False
        self._samples: deque[_Sample] = deque()

    @property
    def began(self) -> int | None:
        """How many were processed when the term began; None before that."""
        return self._began

    def begin(self, processed: int, position: int | None) -> None:
        """Note what was processed before."""
        with self._lock:
            self.processed, self._position = processed, position
            self._samples.append(self._sample())
            self._began = processed
            self._lock.notify_all()

    def moved(self, events: int, position: int) -> None:
        """Note that so many events are committed, up to a position."""
        with self._lock:
            self.processed += events
            self._position = position
            self._keep_sample()
            self._lock.notify_all()

    def end(self) -> None:
        """Note that nothing more is counted here."""
        with self._lock:
            self._has_ended = True
            self._lock.notify_all()

    def wait(self, position: int, timeout: float) -> None:
        """
        Block until a position is committed, nothing more is counted, or time is over.

        Args:
            position: The position, or one before it.
            timeout: Most seconds to wait.
        """
        with self._lock:
            self._lock.wait_for(
                lambda: (
                    self._has_ended
                    or (self._position is not None and self._position >= position)
                ),
                timeout,
            )

    def pace(self) -> Pace:
        """Return how fast it is."""
        with self._lock:
            if not self._samples:
                return Pace()
            # Also where nothing has moved, so that this is known a minute later.
            self._keep_sample()
            first, now = self._samples[0], self._sample()
            # Of what has just begun little is known.
            seconds = min(max(now.at - first.at, 1.0), RATE_SECONDS)
            # Where the first event lies says nothing about the speed.
            begins = next(
                (each.position for each in self._samples if each.position is not None),
                self._position,
            )
            positions = (self._position or 0) - (begins or 0)
            return Pace(
                (now.processed - first.processed) / seconds, positions / seconds
            )

    def _sample(self) -> _Sample:
        return _Sample(self._clock(), self.processed, self._position)

    def _keep_sample(self) -> None:
        """Keep what is now, if it is time, and the last sample that is a minute old."""
        now = self._clock()
        if now - self._samples[-1].at >= _SAMPLE_SECONDS:
            self._samples.append(self._sample())
        oldest = now - RATE_SECONDS
        while len(self._samples) > 1 and self._samples[1].at <= oldest:
            self._samples.popleft()
