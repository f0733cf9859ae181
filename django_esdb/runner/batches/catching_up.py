"""Telling when a projection has caught up."""

from __future__ import annotations

import threading

from django_esdb import signals
from django_esdb.runner.batches.reader import BatchReason


class CatchingUp:
    """
    Sends ``projection_caught_up`` once for each time that a projection was behind.

    It is taken to be behind when it begins, and when batches are full or cut by their
    age, since more is there then. Any thread may use it.

    Args:
        sender: Of the projection's signals.
    """

    def __init__(self, sender: signals.Sender) -> None:
        self._sender = sender
        self._is_behind = True
        self._lock = threading.Lock()

    @property
    def has_caught_up(self) -> bool:
        """Whether all is processed, as far as it was seen."""
        return not self._is_behind

    def took(
        self, reason: BatchReason, phase: str | None, position: int | None
    ) -> None:
        """
        Note that a batch is processed, or that nothing came.

        Args:
            reason: Why the batch was one.
            phase: What the subscription was at before that was looked for, if it tells.
            position: Of the last processed event.
        """
        if reason in (BatchReason.SIZE, BatchReason.AGE):
            self._is_behind = True
        elif reason is BatchReason.CAUGHT_UP or (
            # Nothing comes either while it connects.
            reason is BatchReason.IDLE and phase in (None, "live")
        ):
            self.is_at_end(position)

    def is_at_end(self, position: int | None) -> None:
        """Note that all is processed."""
        with self._lock:
            was_behind, self._is_behind = self._is_behind, False
        if was_behind:
            self._sender.send(signals.projection_caught_up, position=position)
