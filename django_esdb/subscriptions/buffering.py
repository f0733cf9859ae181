"""
The buffer of events between a subscription and who processes them.

There is one, in whichever way the events come. It is bounded in events and in bytes:
when processing is behind, the receiving thread waits, and so does the event store.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Protocol

from django.db import connections
from eventsourcing.persistence import Notification
from eventsourcing.projection import ApplicationSubscription

from django_esdb.subscriptions.received import Decoder
from eventsourcing_eventstoredb.subscriptions.read_ahead import MAX_BYTES, ReadAhead

# Batches that may be read ahead of the one that is being processed.
_BATCHES_AHEAD = 2


class EventBuffer(Protocol):
    """
    What was received and not yet taken.

    Attributes:
        max_events: Most items that it holds.
    """

    max_events: int

    @property
    def items_put(self) -> int:
        """How many items were received so far, taken or not."""

    @property
    def is_full(self) -> bool:
        """Whether more waits to be received."""

    @property
    def is_live(self) -> bool:
        """Whether who has taken all has caught up."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing is there, and nothing more will be."""

    def take(
        self,
        max_events: int,
        timeout: float | None,
        *,
        max_bytes: int = ...,
        unless_live: bool = ...,
    ) -> list[Notification]:
        """Return what is there; see :meth:`ReadAhead.take`."""


class BufferedSubscription:
    """
    A subscription whose events are received in a thread of their own.

    EventStoreDB's subscriptions have one anyway. For others it is started here. Either
    ends when the subscription is stopped.

    Args:
        subscription: The library's, on any persistence module.
        batch_size: Most events in a batch; twice as many are read ahead, except
            by EventStoreDB's subscriptions, which have limits of their own.

    Attributes:
        buffer: The notifications that were received.
        decode: Makes events of them. It is for who takes them to call: a thread that
            decodes while another one processes would mostly hold that one up, which
            waits for Python's lock after each of its statements.
    """

    def __init__(
        self, subscription: ApplicationSubscription[Any], batch_size: int
    ) -> None:
        # It stops when it is collected.
        self._subscription = subscription
        self.decode = Decoder(subscription.name, subscription.mapper)
        self._thread: threading.Thread | None = None
        self._own_buffer: ReadAhead[Any] | None = None
        inner: Any = subscription.subscription
        if hasattr(inner, "read_ahead"):
            self.buffer: EventBuffer = inner.read_ahead
            self._least = self.buffer.max_events
            return
        self.buffer = self._own_buffer = ReadAhead(
            _BATCHES_AHEAD * batch_size, MAX_BYTES
        )
        self._thread = threading.Thread(
            target=_receive,
            args=(inner, self._own_buffer, batch_size),
            name=f"{threading.current_thread().name}-receiver",
        )
        self._least = self._own_buffer.max_events
        self._thread.start()

    def read_ahead(self, batch_size: int) -> None:
        """
        See to it that batches of a size can be received while one is processed.

        Args:
            batch_size: Most events in the next batch.
        """
        self.buffer.max_events = max(self._least, _BATCHES_AHEAD * batch_size)

    def close(self) -> None:
        """Wait for the thread that was started here; the subscription is stopped."""
        if self._own_buffer is not None:
            self._own_buffer.close()
        if self._thread is not None:
            self._thread.join()


def _receive(
    subscription: Any, buffer: ReadAhead[Notification], batch_size: int
) -> None:
    try:
        for notification in _notifications(subscription, buffer, batch_size):
            buffer.put(notification, len(notification.state))
            if buffer.is_closed:
                return
        buffer.finish()
    except BaseException as error:
        # Who takes the last event gets it.
        buffer.fail(error)
    finally:
        # A recorder on Django's databases may have used some.
        connections.close_all()


def _notifications(
    subscription: Any, buffer: ReadAhead[Notification], batch_size: int
) -> Iterator[Notification]:
    """Yield notifications, and note when the buffer has all that there are."""
    if hasattr(subscription, "next_batch"):
        while True:
            buffer.set_live(not _is_catching_up(subscription))
            notifications = subscription.next_batch(batch_size)
            buffer.set_live(False)
            if not notifications:
                return
            yield from notifications
    while True:
        # Who has nothing at hand is taken for live: these do not say.
        buffer.set_live(True)
        try:
            notification = next(subscription)
        except StopIteration:
            return
        buffer.set_live(False)
        yield notification


def _is_catching_up(subscription: Any) -> bool:
    state = getattr(subscription, "state", None)
    return state is not None and state.phase == "catching up"
