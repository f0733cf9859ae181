"""What other threads than a supervisor's ask of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django_esdb.exceptions import EventHangError, LeaseLostError
from django_esdb.runner.term import Term


class Interrupts:
    """
    Reasons to end a term before its time; may be used by any thread.

    Attributes:
        is_stopping: Whether no further term is to begin.
        lost: That another process has taken over the lease, None if it has not.
        hangs: That an event takes longer than any may, None if none does.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._term: Term | None = None
        self.is_stopping = False
        self.lost: LeaseLostError | None = None
        self.hangs: EventHangError | None = None

    def has_to_act(self) -> bool:
        """Return whether there is something else to do than to wait."""
        return self.is_stopping or self.lost is not None

    def stop(self) -> None:
        """Have it end after the batch that is being processed; returns at once."""
        with self._changed:
            self.is_stopping = True
            self._end_term()

    def lease_lost(self, error: LeaseLostError) -> None:
        """Have the term end, since another process has taken over."""
        with self._changed:
            self.lost = error
            self._end_term()

    def event_hangs(self, error: EventHangError) -> None:
        """Have it end, if it ever continues from an event that hangs."""
        with self._changed:
            self.hangs = error
            self.is_stopping = True
            self._end_term()

    def forget_loss(self) -> bool:
        """Continue without the lease that was lost; return whether one was."""
        lost, self.lost = self.lost, None
        return lost is not None

    def wait(self, seconds: float) -> bool:
        """Wait so long at most for something to do; return whether to continue."""
        with self._changed:
            self._changed.wait_for(self.has_to_act, max(seconds, 0.0))
            return not self.is_stopping

    @contextmanager
    def ending(self, term: Term) -> Iterator[None]:
        """Stop a term, until the block ends, as soon as there is a reason."""
        with self._changed:
            self._term = term
            if self.has_to_act():
                term.stop()
        try:
            yield
        finally:
            with self._changed:
                self._term = None

    def _end_term(self) -> None:
        if self._term is not None:
            self._term.stop()
        self._changed.notify_all()
