"""Notices that a subscription is dead though its connection looks alive."""

from __future__ import annotations

import threading
from typing import Any

from eventsourcing.persistence import PersistenceError

from eventsourcing_eventstoredb.all_stream import AllStream
from eventsourcing_eventstoredb.protocol.forking import gate
from eventsourcing_eventstoredb.read_ahead import ReadAhead
from eventsourcing_eventstoredb.receiving import Receiver
from eventsourcing_eventstoredb.subscription_state import Phase, StateCell

# In a catch-up the server may look for long through what does not match. So
# many times it may be silent, as long as it answers otherwise.
_MAX_SILENT_ROUNDS = 4


class Watchdog:
    """
    Asks the server for its last event when a subscription has been silent.

    If there is no answer, or there is something that should have come, the call
    is dropped for the receiver to resume.

    Args:
        log: Where the subscription reads.
        receiver: What to watch.
        ahead: Tells whether silence is the consumer's doing.
        state: What the subscription is at.
        interval: Seconds of silence after which to ask. A dead subscription is
            found within twice as long.
    """

    def __init__(
        self,
        log: AllStream,
        receiver: Receiver,
        ahead: ReadAhead[Any],
        state: StateCell,
        interval: float,
    ) -> None:
        self._log = log
        self._receiver = receiver
        self._ahead = ahead
        self._state = state
        self._answer_within = interval / 2
        self._round = interval / 2
        self._stopped = threading.Event()
        self._missed: int | None = None
        self._silent_rounds = 0

    def run(self) -> None:
        """Watch until stopped, or until the receiver has given up."""
        count = -1
        while not self._stopped.wait(self._round):
            if self._state.state.phase is Phase.FAILED:
                return
            before, count = count, self._receiver.message_count
            if count != before or self._ahead.is_full:
                self._silent_rounds = 0
                self._missed = None
                continue
            self._silent_rounds += 1
            with gate.inside(self):
                is_dead = self._is_dead()
            if is_dead and self._receiver.message_count == count:
                self._receiver.drop_call()

    def stop(self) -> None:
        """End :meth:`run`; may be called from any thread."""
        self._stopped.set()

    def leave_grpc(self) -> None:
        """Do nothing: a question is answered soon, or is over in time."""

    def is_outside_grpc(self) -> bool:
        """Say that a question is under way."""
        return False

    def _is_dead(self) -> bool:
        phase = self._state.state.phase
        if phase in (Phase.CONNECTING, Phase.DISCONNECTED):
            # Either waiting for a confirmation, or between two attempts, where
            # there is no call to drop.
            return True
        try:
            if phase is Phase.CATCHING_UP:
                self._log.head(self._answer_within)
                return self._silent_rounds > _MAX_SILENT_ROUNDS
            return self._has_missed_something()
        except PersistenceError:
            # Resuming will say what is wrong.
            return True

    def _has_missed_something(self) -> bool:
        """Tell whether for a whole round something has been there to come."""
        position = self._receiver.position
        passed_over = self._log.passed_over_position(position, self._answer_within)
        if passed_over is not None:
            self._receiver.save_checkpoint(passed_over)
            return False
        head = self._log.head(self._answer_within)
        if head is None or (position is not None and head <= position):
            return False
        missed, self._missed = self._missed, head
        return missed is not None
