"""Having subscriptions that are notified look by themselves, now and then."""

from __future__ import annotations

from typing import Any
from weakref import ref

from eventsourcing.persistence import ListenNotifySubscription, Subscription

from eventsourcing_eventstoredb.scheduler import scheduler

# What is new is looked for after so long, then after twice as long each time.
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 60.0


def remind(subscription: Subscription[Any]) -> None:
    """
    Have a subscription look for new events, even if it is not notified of them.

    The library's subscriptions to PostgreSQL look once, and begin to listen in another
    thread. What is recorded in between sends none: it would be seen when another
    event is recorded. The same is so where a proxy of connections loses notifications.
    It ends when the subscription is collected.

    Args:
        subscription: Any; those that are not notified need no reminder.
    """
    if not isinstance(subscription, ListenNotifySubscription):
        return
    reminded = ref(subscription)

    def look() -> None:
        found = reminded()
        if found is None:
            scheduler.cancel(periodic, waits=False)
            return
        found._has_been_notified.set()
        periodic.seconds = min(2 * periodic.seconds, LONGEST_PAUSE_SECONDS)

    periodic = scheduler.every(FIRST_PAUSE_SECONDS, look)
