"""What is done about an event that fails."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from django_esdb.conf import settings

# What may pass by itself counts as an event's failure after so many times in a row at
# this event alone, with the database there each time.
_MOST_OUTAGES = 3
# After so many at a batch its events are looked through for the one.
_MOST_OF_BATCHES = 2
# An interrupted process says less than an error does: it may have been killed by
# hand. So events are not given up before so many.
_LEAST_CRASHES = 3


class OnFailure(StrEnum):
    """
    What a projection does about an event that fails again and again.

    Attributes:
        STOP: The projection is paused there.
        PARK: The event is put aside, with all later ones of its aggregate, until
            it is resolved.
        SKIP: The event is left out for good, unless too many in a row were: then
            the projection is paused.
    """

    STOP = "stop"
    PARK = "park"
    SKIP = "skip"


class FailurePolicy:
    """
    Counts failures of a projection's next event, and decides what to do.

    The count restarts with another event. How many were left out before it is in the
    projection's row, so that it is known also where a process ends at each event.

    Args:
        on_failure: What to do when the retries are used up.
        retries: How often to try again; by default ``ESDB_RETRIES`` for an event
            that stops the projection, and not at all for one that is put aside
            or left out.

    Attributes:
        failures: How often the event has failed.
        is_exhausted: Whether no attempts are left.
        skipped: How many events in a row have been left out, as the row says.
    """

    def __init__(self, on_failure: OnFailure, retries: int | None) -> None:
        self.on_failure = on_failure
        self._retries = retries
        self._position: int | None = None
        self._outage_position: int | None = None
        self._lock_position: int | None = None
        self._locks = 0
        self._suspect: int | None = None
        self._slow: int | None = None
        self._outages = 0
        self.skipped = 0
        self.failures = 0
        self.is_exhausted = False

    @property
    def retries(self) -> int:
        """How often an event is tried again."""
        if self._retries is not None:
            return self._retries
        return settings.ESDB_RETRIES if self.on_failure is OnFailure.STOP else 0

    def failed(self, position: int) -> OnFailure | None:
        """
        Count a failure, and say what to do now.

        Args:
            position: The event's.

        Returns:
            What to do about the event; None to try it again later.
        """
        if position != self._position:
            self._position, self.failures = position, 0
        self.failures += 1
        self.is_exhausted = self.failures > self.retries
        return self._given_up() if self.is_exhausted else None

    def outage(self, position: int, *, is_alone: bool) -> bool:
        """
        Count a failure that may pass, in spite of a database that can be written.

        Args:
            position: Of the first event that was to be processed.
            is_alone: Whether there was no other.

        Returns:
            Whether it is too often for a coincidence: then one of the events is at
            fault, or they are too much for one transaction.
        """
        if position != self._outage_position:
            self._outage_position, self._outages = position, 0
        self._outages += 1
        if is_alone:
            self._suspect = position
        return self._outages > (_MOST_OUTAGES if is_alone else _MOST_OF_BATCHES)

    def lock(self, position: int, *, is_alone: bool) -> bool:
        """
        Count that events have met a lock, which is never an event's failure.

        Args:
            position: Of the first event that was to be processed.
            is_alone: Whether there was no other.

        Returns:
            Whether to process them in smaller parts.
        """
        if is_alone:
            self._suspect = position
            return False
        if position != self._lock_position:
            self._lock_position, self._locks = position, 0
        self._locks += 1
        return self._locks > _MOST_OF_BATCHES

    def slow(self, position: int | None) -> bool:
        """
        Note that an event takes longer than the database waits for a statement.

        Returns:
            Whether that is news; else the longer limit was of no use.
        """
        is_news, self._slow = position != self._slow, position
        return is_news

    def together(self, positions: Iterable[int]) -> int | None:
        """
        Return how many of the next events may be processed together; None for all.

        One that has met an outage again and again, or was too slow, is to be alone.
        """
        alone = {self._suspect, self._slow} - {None}
        if alone:
            for number, position in enumerate(positions):
                if position in alone:
                    return number or 1
        return None

    def is_slow(self, position: int) -> bool:
        """Return whether an event is to have a longer limit."""
        return position == self._slow

    def crashed(self, position: int, times: int) -> OnFailure | None:
        """
        Say what to do about an event at which the process has ended before.

        Args:
            position: The event's.
            times: How often.

        Returns:
            What to do about the event; None to try it again now.
        """
        if times < max(self.retries, _LEAST_CRASHES):
            return None
        self._position, self.failures = position, times
        self.is_exhausted = True
        return self._given_up()

    @property
    def has_braked(self) -> bool:
        """Whether so many events in a row have failed that no more are skipped."""
        is_skipping = self.on_failure is OnFailure.SKIP
        return is_skipping and self.skipped >= settings.ESDB_MAX_SKIPPED

    def _given_up(self) -> OnFailure:
        return OnFailure.STOP if self.has_braked else self.on_failure

    def forget_failures(self) -> None:
        """Forget what has failed."""
        self._position, self.failures, self.is_exhausted = None, 0, False
        self._outage_position = self._suspect = self._slow = None
        self._lock_position = None
