"""All events that an application has by now, read as a subscription does."""

from __future__ import annotations

from collections.abc import Iterator

from eventsourcing.persistence import Notification

from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.subscriptions.state import Phase

_BATCH = 500
# After so long without an event the store is asked whether it is there.
_SILENT_SECONDS = 5.0


def recorded_notifications(
    recorder: EventStoreDBApplicationRecorder,
) -> Iterator[Notification]:
    """
    Yield what is recorded when this begins, in order; not what comes meanwhile.

    Quicker than page by page, and memory is needed for a bounded number of events,
    since a subscription reads ahead only so far.

    Raises:
        eventsourcing.persistence.PersistenceError: The store cannot be read.
    """
    head = recorder.max_notification_id()
    if head is None:
        return
    with recorder.subscribe() as subscription:
        while True:
            batch = subscription.next_batch(_BATCH, _SILENT_SECONDS)
            for each in batch:
                if each.id > head:
                    return
                yield each
            if batch and batch[-1].id >= head:
                return
            if not batch:
                if subscription.state.phase is Phase.LIVE:
                    # The last one was deleted meanwhile.
                    return
                # Raises an error if the store is away.
                recorder.max_notification_id()
