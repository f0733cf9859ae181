"""Notices that a subscription is dead though its connection looks alive."""

from __future__ import annotations

from typing import Any

from eventsourcing.persistence import PersistenceError

from eventsourcing_eventstoredb.protocol.forking import gate
from eventsourcing_eventstoredb.protocol.questions import Question
from eventsourcing_eventstoredb.protocol.retrying import connected
from eventsourcing_eventstoredb.scheduler import Periodic, scheduler
from eventsourcing_eventstoredb.streams.all_stream import AllStream
from eventsourcing_eventstoredb.subscriptions.read_ahead import ReadAhead
from eventsourcing_eventstoredb.subscriptions.receiving import Receiver
from eventsourcing_eventstoredb.subscriptions.state import Phase, StateCell

# In a catch-up the server may look for long through what does not match. So
# many times it may be silent, as long as it answers otherwise.
_MAX_SILENT_ROUNDS = 4
# How long the scheduler's thread waits for an answer, and for what is read then from a
# server that has just answered.
_AT_ONCE = 0.05
_READING_SECONDS = 1.0


class Watchdog:
    """
    Asks the server whether it is there when a subscription has been silent.

    One thread of the process does so for all subscriptions. If there is no answer, or
    there is something that should have come, the call is dropped for the receiver to
    resume.

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
        self._round = interval / 2
        self._periodic: Periodic | None = None
        self._is_abandoned = False
        self._question: Question | None = None
        self._count = -1
        self._missed: int | None = None
        self._silent_rounds = 0

    def start(self) -> None:
        """Watch from now on, in the scheduler's thread."""
        self._periodic = scheduler.every(self._round, self.look)

    def stop(self) -> None:
        """Watch no more; may be called from any thread, and does not wait."""
        if self._periodic is not None:
            scheduler.cancel(self._periodic, waits=False)

    def abandon(self) -> None:
        """
        Have the subscription stopped by the scheduler's thread; does not wait.

        For a subscription that is collected. That may happen in the thread that
        receives, while it holds a lock that a stop needs.
        """
        self._is_abandoned = True
        if self._periodic is not None:
            scheduler.hasten(self._periodic)

    def end(self) -> None:
        """Stop what belongs to the subscription, from any thread; does not wait."""
        self._state.enter(Phase.STOPPED)
        self.stop()
        self._ahead.close()
        self._receiver.stop()

    def look(self) -> None:
        """
        Look whether the subscription is alive, and still referred to.

        The scheduler's thread has other things to do: the answer to a question is
        looked for in the next round, unless it comes at once.
        """
        if self._is_abandoned:
            self.end()
            return
        if self._state.state.phase in (Phase.FAILED, Phase.STOPPED):
            self.stop()
            return
        before, self._count = self._count, self._receiver.message_count
        if self._count != before or self._ahead.is_full:
            self._silent_rounds = 0
            self._missed = None
            self._question = None
            return
        self._silent_rounds += 1
        with gate.inside(self):
            is_dead = self._is_dead()
        if is_dead and self._receiver.message_count == self._count:
            self._question = None
            self._receiver.drop_call()

    def leave_grpc(self) -> None:
        """Do nothing: reading is over soon."""

    def is_outside_grpc(self) -> bool:
        """Say that something is read."""
        return False

    def _is_dead(self) -> bool:
        phase = self._state.state.phase
        if phase is Phase.CONNECTING or phase.is_interrupted:
            # Either waiting for a confirmation, which has a deadline of its own, or
            # between two attempts, where there is no call to drop.
            return False
        try:
            answers = self._server_answers()
            if not answers:
                return answers is False
            if phase is Phase.CATCHING_UP:
                return self._silent_rounds > _MAX_SILENT_ROUNDS
            return self._has_missed_something()
        except PersistenceError:
            # Resuming will say what is wrong.
            return True

    def _server_answers(self) -> bool | None:
        """Return whether the server answers; None if that is not known yet."""
        question, self._question = self._question, None
        if question is None:
            question = Question()
            question.ask(connected(self._log.client), self._round)
        answers = question.is_answered(_AT_ONCE)
        if answers is None:
            self._question = question
        return answers

    def _has_missed_something(self) -> bool:
        """Tell whether for a whole round something has been there to come."""
        position = self._receiver.position
        passed_over = self._log.passed_over_position(position, _READING_SECONDS)
        if passed_over is not None:
            self._receiver.save_checkpoint(passed_over)
            return False
        # It may be of a node that is further, so only its being missed again counts.
        head = self._log.head(_READING_SECONDS)
        if head is None or (position is not None and head <= position):
            return False
        missed, self._missed = self._missed, head
        return missed is not None
