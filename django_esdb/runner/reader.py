"""
Reading and decoding events in a thread of their own, while the database works.

What is read ahead is bounded: when the processing thread is behind, the reader
waits, and so does the event store.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator
from enum import StrEnum
from time import monotonic
from typing import Any

from django.db import connections
from eventsourcing.persistence import Notification, Tracking
from eventsourcing.projection import ApplicationSubscription

# Batches that may be read ahead of the one that is being processed.
_BATCHES_AHEAD = 2


class BatchReason(StrEnum):
    """Why a batch is processed with the events that it has."""

    SIZE = "size"
    AGE = "age"
    CAUGHT_UP = "caught up"
    UNDECODABLE = "undecodable event"
    ENDED = "ended"
    IDLE = "idle"


class ReceivedEvent:
    """
    An event as it was read, in the order of the application's notifications.

    Attributes:
        tracking: Its position.
        notification: As it is stored.
        domain_event: What the projection is given; None if that failed.
        error: Why it could not be decoded, else None.
    """

    __slots__ = ("domain_event", "error", "notification", "tracking")

    def __init__(
        self,
        tracking: Tracking,
        notification: Notification,
        domain_event: Any,
        error: Exception | None,
    ) -> None:
        self.tracking = tracking
        self.notification = notification
        self.domain_event = domain_event
        self.error = error


class EventReader:
    """
    Reads a subscription ahead.

    One thread starts it and takes; stopping the subscription ends the reading.

    Args:
        subscription: The library's, on any persistence module.
        batch_size: Most events in a batch.
        batch_seconds: How long a batch's first event waits for others.
    """

    def __init__(
        self,
        subscription: ApplicationSubscription[Any],
        *,
        batch_size: int,
        batch_seconds: float,
    ) -> None:
        self._subscription = subscription
        self._batch_size = batch_size
        self._batch_seconds = batch_seconds
        self._events: deque[ReceivedEvent] = deque()
        # Guards all below. Both sides wait on it: for events, and for room.
        self._changed = threading.Condition()
        self._is_waiting_for_store = False
        self._has_ended = False
        self._is_closed = False
        self._error: BaseException | None = None
        self.batch_reasons: Counter[BatchReason] = Counter()
        self._thread = threading.Thread(
            target=self._read, name=f"{threading.current_thread().name}-reader"
        )
        self._thread.start()

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
        with self._changed:
            self._changed.wait_for(
                lambda: self._events or self._has_ended, idle_seconds
            )
            if not self._events:
                if self._error is not None:
                    raise self._error
                return [], BatchReason.ENDED if self._has_ended else BatchReason.IDLE
            reason = self._wait_for_more()
            batch = self._pop()
            if batch[-1].error is not None or (
                self._events and self._events[0].error is not None
            ):
                reason = BatchReason.UNDECODABLE
            self.batch_reasons[reason] += 1
            self._changed.notify_all()
            return batch, reason

    def close(self) -> None:
        """Let the thread end, if the subscription does, and wait for that."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _wait_for_more(self) -> BatchReason:
        deadline = monotonic() + self._batch_seconds
        while len(self._events) < self._batch_size:
            if self._has_ended:
                return BatchReason.ENDED
            if self._is_waiting_for_store and not self._is_catching_up():
                return BatchReason.CAUGHT_UP
            remaining = deadline - monotonic()
            if remaining <= 0:
                return BatchReason.AGE
            self._changed.wait(remaining)
        return BatchReason.SIZE

    def _is_catching_up(self) -> bool:
        # Of the library's subscriptions only ours knows; any other that has
        # nothing at hand is taken for live.
        state = getattr(self._subscription.subscription, "state", None)
        return state is not None and state.phase == "catching up"

    def _pop(self) -> list[ReceivedEvent]:
        if self._events[0].error is not None:
            return [self._events.popleft()]
        batch: list[ReceivedEvent] = []
        while self._events and len(batch) < self._batch_size:
            if self._events[0].error is not None:
                break
            batch.append(self._events.popleft())
        return batch

    def _read(self) -> None:
        try:
            for notifications in self._chunks():
                self._put([self._decode(each) for each in notifications])
                if self._is_closed:
                    return
        except BaseException as error:
            # Whoever takes the last event gets it.
            self._error = error
        finally:
            # A transcoding or a recorder on Django's databases may have used some.
            connections.close_all()
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def _chunks(self) -> Iterator[list[Notification]]:
        subscription: Any = self._subscription.subscription
        if not hasattr(subscription, "next_batch"):
            for notification in self._noting_waits(iter(subscription)):
                yield [notification]
            return
        while True:
            self._wait_for_store()
            notifications = subscription.next_batch(self._batch_size)
            if not notifications:
                return
            yield notifications

    def _noting_waits(self, source: Iterator[Notification]) -> Iterator[Notification]:
        while True:
            self._wait_for_store()
            try:
                notification = next(source)
            except StopIteration:
                return
            yield notification

    def _wait_for_store(self) -> None:
        with self._changed:
            self._is_waiting_for_store = True
            self._changed.notify_all()

    def _decode(self, notification: Notification) -> ReceivedEvent:
        tracking = Tracking(self._subscription.name, notification.id)
        try:
            domain_event = self._subscription.mapper.to_domain_event(notification)
        except Exception as error:
            return ReceivedEvent(tracking, notification, None, error)
        return ReceivedEvent(tracking, notification, domain_event, None)

    def _put(self, events: list[ReceivedEvent]) -> None:
        with self._changed:
            self._is_waiting_for_store = False
            self._changed.wait_for(
                lambda: (
                    len(self._events) < _BATCHES_AHEAD * self._batch_size
                    or self._is_closed
                )
            )
            self._events.extend(events)
            if (
                len(self._events) == len(events)
                or len(self._events) >= self._batch_size
            ):
                self._changed.notify_all()
