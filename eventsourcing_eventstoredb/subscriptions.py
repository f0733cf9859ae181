"""A subscription to an application's events in EventStoreDB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from esdbclient.common import AbstractCatchupSubscription
from esdbclient.exceptions import ConsumerTooSlow
from eventsourcing.persistence import Notification, OperationalError, Subscription

from eventsourcing_eventstoredb import mapping
from eventsourcing_eventstoredb.exceptions import client_errors

if TYPE_CHECKING:
    from eventsourcing_eventstoredb.recorders import EventStoreDBApplicationRecorder

# How many events the server scans before it reports progress: with the
# client's own 30, passing over what does not match takes three times as long.
_WINDOW_SIZE = 2000


class EventStoreDBSubscription(Subscription["EventStoreDBApplicationRecorder"]):
    """
    Yields notifications in order, then waits for new ones; each of them once.

    One thread iterates; :meth:`stop` may be called from any other, and ends
    the iteration.

    Raises:
        ProgrammingError: The server refuses, and would again.
        OperationalError: The connection is lost or the server not ready. The
            caller can subscribe again after the last notification it got.
    """

    def __init__(
        self,
        recorder: EventStoreDBApplicationRecorder,
        gt: int | None = None,
        topics: Sequence[str] = (),
    ) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=tuple(topics))
        self._esdb_subscription = self._subscribe()

    def __next__(self) -> Notification:
        """
        Wait for the next notification and return it.

        Raises:
            StopIteration: The subscription was stopped.
        """
        while not self._has_been_stopped:
            notification = self._receive()
            if notification is not None:
                return notification
        raise StopIteration

    def stop(self) -> None:
        """End the iteration, also where it waits in another thread."""
        super().stop()
        self._esdb_subscription.stop()

    def _subscribe(self) -> AbstractCatchupSubscription:
        with client_errors("Subscribing to all streams"):
            return self._recorder.client.subscribe_to_all(
                commit_position=self._last_notification_id,
                window_size=_WINDOW_SIZE,
                **mapping.server_filter(self._topics),
            )

    def _receive(self) -> Notification | None:
        """Return what came, None if it was no notification or nothing came."""
        with client_errors("Subscription to all streams"):
            try:
                event = next(self._esdb_subscription)
            except ConsumerTooSlow:
                # The server gave up on this call, not on the subscriber.
                self._esdb_subscription = self._subscribe()
                if self._has_been_stopped:
                    self._esdb_subscription.stop()
                return None
            except StopIteration:
                if self._has_been_stopped:
                    return None
                msg = "The subscription ended: the client was closed or reconnected"
                raise OperationalError(msg) from None
        notification = mapping.notification(
            event, self._topics, self._recorder.originator_id_type
        )
        if notification is not None:
            self._last_notification_id = notification.id
        return notification
