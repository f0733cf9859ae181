"""Batches of events, put together before their transaction begins."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from time import monotonic
from typing import Any

from eventsourcing.projection import ApplicationSubscription

from django_esdb.runner.time_limits.slow_events import EventClock
from django_esdb.subscriptions.buffering import BufferedSubscription
from django_esdb.subscriptions.received import ReceivedEvent

# What a batch has in memory, besides what it makes of it, is bounded, too.
_MAX_BATCH_BYTES = 16 * 1024 * 1024


class BatchReason(StrEnum):
    """Why a batch is processed with the events that it has."""

    SIZE = "size"
    BYTES = "bytes"
    AGE = "age"
    CAUGHT_UP = "caught up"
    UNDECODABLE = "undecodable event"
    ENDED = "ended"
    IDLE = "idle"


class EventReader:
    """
    Takes batches of a subscription's events.

    Used by one thread, which decodes the events; they are received in another one.

    Args:
        subscription: The library's, on any persistence module.
        batch_size: Most events in a batch, and in any batch to come.
        batch_seconds: How long a batch's first event waits for others, in seconds.
        clock: Told which event is decoded; None if it is not watched.

    Attributes:
        decodes_late: Whether who takes a batch decodes its events, one after the other:
            a process may end at that as well.
        batch_size: Most events in the next batch; may be made less, and more again.
        batch_seconds: How long the first event of the next batch waits for others.
        batch_reasons: How many batches there were, by the reason for their end.
    """

    def __init__(
        self,
        subscription: ApplicationSubscription[Any],
        *,
        batch_size: int,
        batch_seconds: float,
        clock: EventClock | None = None,
    ) -> None:
        self.decodes_late = False
        self._clock = clock or EventClock()
        self.batch_size = batch_size
        self.batch_seconds = batch_seconds
        self._subscription = BufferedSubscription(subscription, batch_size)
        self._buffer = self._subscription.buffer
        # Taken already, behind or at an event that could not be decoded.
        self._held: list[ReceivedEvent] = []
        self.batch_reasons: Counter[BatchReason] = Counter()

    @property
    def received(self) -> int:
        """How many events were received so far, taken or not."""
        return self._buffer.items_put

    @property
    def is_whole(self) -> bool:
        """Whether what was received is all that there is, as far as it is known."""
        return self._buffer.is_live and not self._buffer.is_full

    def take(self, idle_seconds: float) -> tuple[list[ReceivedEvent], BatchReason]:
        """
        Wait for the next batch and return it, with the reason why it is one.

        An event that could not be decoded comes alone.

        Args:
            idle_seconds: How long to wait for a first event.

        Returns:
            Events in order. None of them means that nothing came in time, or
            that the subscription was stopped.

        Raises:
            Exception: What ended the subscription, after its last event.
        """
        self._subscription.read_ahead(self.batch_size)
        batch, self._held = self._held, []
        if not batch:
            batch = self._taken(
                self.batch_size, idle_seconds, max_bytes=_MAX_BATCH_BYTES
            )
        if not batch:
            has_ended = self._buffer.has_ended
            return [], BatchReason.ENDED if has_ended else BatchReason.IDLE
        reason = self._fill(batch)
        if self._cut(batch):
            reason = BatchReason.UNDECODABLE
        self.batch_reasons[reason] += 1
        return batch, reason

    def close(self) -> None:
        """Wait for the receiving thread, if the subscription has none of its own."""
        self._subscription.close()

    def _fill(self, batch: list[ReceivedEvent]) -> BatchReason:
        """Add what comes until the batch has a reason to be processed."""
        deadline = monotonic() + self.batch_seconds
        size = _bytes(batch)
        while len(batch) < self.batch_size:
            if size >= _MAX_BATCH_BYTES:
                return BatchReason.BYTES
            if batch[-1].error is not None:
                return BatchReason.UNDECODABLE
            if self._buffer.has_ended:
                return BatchReason.ENDED
            remaining = max(deadline - monotonic(), 0)
            try:
                more = self._taken(
                    self.batch_size - len(batch),
                    remaining,
                    max_bytes=_MAX_BATCH_BYTES - size,
                    unless_live=True,
                )
            except Exception:
                # It has failed just now; it says so again when these are done.
                return BatchReason.ENDED
            batch += more
            size += _bytes(more)
            if not more and self._buffer.is_live:
                return BatchReason.CAUGHT_UP
            if not more and not remaining:
                return BatchReason.AGE
        return BatchReason.SIZE

    def _taken(
        self, max_events: int, seconds: float, **limits: Any
    ) -> list[ReceivedEvent]:
        notifications = self._buffer.take(max_events, seconds, **limits)
        decode = self._subscription.decode
        if self.decodes_late:
            return list(map(decode.late, notifications))
        events = []
        with self._clock.at_an_event():
            for notification in notifications:
                self._clock.begin(notification)
                events.append(decode(notification))
        return events

    def _cut(self, batch: list[ReceivedEvent]) -> bool:
        """Hold back what has to come later; return whether that is for an event."""
        for index, event in enumerate(batch):
            if event.error is not None:
                end = index or 1
                self._held = batch[end:]
                del batch[end:]
                return True
        return False


def _bytes(events: list[ReceivedEvent]) -> int:
    return sum([len(event.notification.state) for event in events])
