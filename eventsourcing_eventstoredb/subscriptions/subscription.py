"""A subscription to an application's events in EventStoreDB."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from eventsourcing.persistence import Notification, OperationalError, Subscription

from eventsourcing_eventstoredb.environment import WATCHDOG_INTERVAL
from eventsourcing_eventstoredb.subscriptions.read_ahead import MAX_BYTES, ReadAhead
from eventsourcing_eventstoredb.subscriptions.receiving import Receiver
from eventsourcing_eventstoredb.subscriptions.state import (
    StateCell,
    SubscriptionState,
)
from eventsourcing_eventstoredb.subscriptions.watchdog import Watchdog

if TYPE_CHECKING:
    from eventsourcing_eventstoredb.recorders.application import (
        EventStoreDBApplicationRecorder,
    )

_MAX_EVENTS_AHEAD = 5_000

# How many notifications the iterator takes at once from what was read ahead.
_ITERATION_BATCH = 500


class EventStoreDBSubscription(Subscription["EventStoreDBApplicationRecorder"]):
    """
    Hands out notifications in order, then waits for new ones; each of them once.

    A thread reads ahead, so far and no further, and the server waits for a slow
    consumer. After a failure that may pass it resumes behind the last event it
    got, for as long as it takes.

    One thread iterates or calls :meth:`next_batch`; :meth:`stop` may be called
    from any other, and ends the waiting.

    Args:
        recorder: The application's recorder.
        gt: Position of the last event to leave out; None for the first one on.
        topics: Topics to hand out, matched exactly; empty for all.
        max_events_ahead: Most notifications to read ahead.
        max_bytes_ahead: Most bytes of their states to read ahead.
        watchdog_interval: Seconds of silence after which the server is asked
            whether it is alive and whether there is something.

    Where the store reaches beyond *gt* but no event begins there, EventStoreDB 23.10
    refuses at once, so that this raises ProgrammingError; newer servers confirm the
    subscription first, and the iteration or :meth:`next_batch` raises it.

    Raises:
        UnknownPositionError: The store does not have the position *gt*.
        ProgrammingError: The server refuses, and would again.
        OperationalError: The server could not be asked.
    """

    def __init__(
        self,
        recorder: EventStoreDBApplicationRecorder,
        gt: int | None = None,
        topics: Sequence[str] = (),
        *,
        max_events_ahead: int = _MAX_EVENTS_AHEAD,
        max_bytes_ahead: int = MAX_BYTES,
        watchdog_interval: float = WATCHDOG_INTERVAL,
    ) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=tuple(topics))
        self._process_id = os.getpid()
        self._batch: list[Notification] = []
        self._batch_index = 0
        log = recorder.all_stream(topics)
        self._state = StateCell()
        self._ahead: ReadAhead[Notification] = ReadAhead(
            max_events_ahead, max_bytes_ahead
        )
        self._receiver = Receiver(
            log, gt, self._ahead, self._state, watchdog_interval / 2
        )
        self._watchdog = Watchdog(
            log, self._receiver, self._ahead, self._state, watchdog_interval
        )
        self._watchdog.start()
        try:
            self._receiver.begin()
        except BaseException:
            self.stop()
            self._receiver.end_call()
            raise
        # It refers to the receiver and not to the subscription, so that this can be
        # collected. A daemon, since an exiting process need not wait for it.
        threading.Thread(
            target=self._receiver.run, name="eventstoredb-receiver", daemon=True
        ).start()

    @property
    def is_stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._has_been_stopped

    @property
    def state(self) -> SubscriptionState:
        """What the subscription is at, and since when; may be read by any thread."""
        return self._state.state

    @property
    def read_ahead(self) -> ReadAhead[Notification]:
        """What was received and not yet taken; for who does not iterate."""
        return self._ahead

    def next_batch(
        self, max_events: int, timeout: float | None = None
    ) -> list[Notification]:
        """
        Return the next notifications, in order; blocks until there is one.

        Args:
            max_events: Most notifications to return, at least 1.
            timeout: Seconds to wait for the first one; None for no limit.

        Returns:
            What is available by then, without waiting for more. Empty if the
            time is over or the subscription was stopped.

        Raises:
            ProgrammingError: The server refuses, and would again.
            OperationalError: The client was closed.
            DataError: An event of the application cannot be read.
        """
        if max_events < 1:
            msg = f"max_events is {max_events}, but must be at least 1"
            raise ValueError(msg)
        if self._has_been_stopped:
            return []
        if self._batch_index < len(self._batch):
            end = self._batch_index + max_events
            batch = self._batch[self._batch_index : end]
            self._batch_index = end
        else:
            batch = self._take(max_events, timeout)
        if batch:
            self._last_notification_id = batch[-1].id
        return batch

    def __next__(self) -> Notification:
        """
        Wait for the next notification and return it.

        Raises:
            StopIteration: The subscription was stopped.
            PersistenceError: As for :meth:`next_batch`.
        """
        if self._batch_index >= len(self._batch):
            self._batch = self._take(_ITERATION_BATCH, None)
            self._batch_index = 0
        if self._has_been_stopped or not self._batch:
            raise StopIteration
        notification = self._batch[self._batch_index]
        self._batch_index += 1
        self._last_notification_id = notification.id
        return notification

    def stop(self) -> None:
        """End the iteration, also where it waits in another thread."""
        super().stop()
        if self._process_id != os.getpid():
            # After a fork: the call is the parent's, and locks may be held by
            # threads that are not there.
            return
        self._watchdog.end()

    def __del__(self) -> None:
        # Left without stop(), its threads would run on.
        with contextlib.suppress(AttributeError):
            if not self._has_been_stopped and self._process_id == os.getpid():
                self._watchdog.abandon()

    def _take(self, max_events: int, timeout: float | None) -> list[Notification]:
        if self._process_id != os.getpid():
            msg = (
                "This subscription was made before the process was forked and belongs "
                "to the parent; subscribe in the child"
            )
            raise OperationalError(msg)
        return self._ahead.take(max_events, timeout)
