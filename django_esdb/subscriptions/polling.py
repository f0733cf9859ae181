"""Following applications whose recorders cannot be subscribed to."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from eventsourcing.persistence import ApplicationRecorder, Notification, Subscription

from django_esdb.db.connections import ConnectionKeeper
from django_esdb.subscriptions.commit_order import commit_order
from eventsourcing_eventstoredb.backoff import Backoff
from eventsourcing_eventstoredb.subscriptions.state import (
    Phase,
    StateCell,
    SubscriptionState,
)

# A pause restarts at the first of these when there was something, and doubles.
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0

# Of a plain iteration.
_SELECT_LIMIT = 500
# How much is in memory of one selection: recorders bound it by events alone, and how
# large these are is known afterwards.
_FIRST_SELECTED = 16
_MOST_SELECTED = 100
_MOST_BYTES = 4 * 1024 * 1024


class PollingSubscription(Subscription[ApplicationRecorder]):
    """
    The notifications of a recorder, selected again and again.

    When there is nothing new it waits, for 20 ms at first and then twice as long
    each time, up to a second. So that is how late an event is seen.

    One thread takes from it, and uses the recorder; any may stop it.

    Args:
        recorder: Whose notifications they are.
        gt: The ID after which to begin; None for the beginning.
        topics: Topics that are wanted; empty for all.
    """

    def __init__(
        self,
        recorder: ApplicationRecorder,
        gt: int | None = None,
        topics: Sequence[str] = (),
    ) -> None:
        super().__init__(recorder, gt, topics)
        self._source, self._wanted, self._last_id = recorder, topics, gt
        self._order = commit_order(recorder)
        self._stopping = threading.Event()
        self._state = StateCell()
        self._taken: list[Notification] = []
        self._page = _FIRST_SELECTED
        self._connections = ConnectionKeeper()

    @property
    def state(self) -> SubscriptionState:
        """What the subscription is at."""
        return self._state.state

    def stop(self) -> None:
        """Tell a waiting reader that it is over; returns at once."""
        super().stop()
        self._stopping.set()

    def next_batch(self, limit: int) -> list[Notification]:
        """
        Wait for notifications and return them, in order; none when stopped.

        Args:
            limit: The most to return; fewer come where they are large.

        Raises:
            PersistenceError: The recorder could not select them.
        """
        # Nothing has failed that others would try again as well, so they do not vary.
        pauses = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, spread=0)
        while not self._stopping.is_set():
            # The recorder may be on one of Django's databases.
            self._connections.begin_work()
            page = min(limit, self._page)
            notifications = self._select(page)
            pause = 0.0 if notifications else pauses.next_pause()
            self._connections.end_work(pause)
            is_behind = len(notifications) == page
            self._state.enter(Phase.CATCHING_UP if is_behind else Phase.LIVE)
            if notifications:
                self._page = _next_page(page, notifications)
                return notifications
            self._stopping.wait(pause)
        self._state.enter(Phase.STOPPED)
        return []

    def __next__(self) -> Notification:
        """Wait for the next notification and return it."""
        if not self._taken:
            self._taken = self.next_batch(_SELECT_LIMIT)[::-1]
        if not self._taken or self._stopping.is_set():
            raise StopIteration
        return self._taken.pop()

    def _select(self, limit: int) -> list[Notification]:
        after = self._last_id
        # Asked first, since that is cheap, and since what has other topics need not
        # be looked through twice.
        head = self._source.max_notification_id()
        if head is not None and head > (after or 0):
            head = self._order.high_water_mark(after or 0, head)
        if head is None or head <= (after or 0):
            return []
        notifications = self._source.select_notifications(
            start=after,
            limit=limit,
            stop=head,
            topics=self._wanted,
            inclusive_of_start=False,
        )
        is_full = len(notifications) == limit
        self._last_id = notifications[-1].id if is_full else head
        return list(notifications)


def _next_page(page: int, notifications: Sequence[Notification]) -> int:
    """Return how many to select next, by the largest of these."""
    largest = max(len(each.state) for each in notifications)
    return max(1, min(4 * page, _MOST_SELECTED, _MOST_BYTES // max(largest, 1)))
