"""Processing batch after batch, and moving on where nothing is the projection's."""

from __future__ import annotations

import logging
from threading import Event as ThreadingEvent
from typing import Any

from eventsourcing import projection as library
from eventsourcing.persistence import PersistenceError
from eventsourcing.projection import ApplicationSubscription

from django_esdb.db.connections import ConnectionKeeper
from django_esdb.runner.batches.catching_up import CatchingUp
from django_esdb.runner.batches.processor import BatchProcessor
from django_esdb.runner.batches.reader import BatchReason, EventReader
from django_esdb.subscriptions.commit_order import CommitOrder, commit_order
from django_esdb.subscriptions.positions import passed_over_position
from eventsourcing_eventstoredb import store_deadline

logger = logging.getLogger("django_esdb.runner")

# How long nothing has to come before the position is moved past what is not
# the projection's; asking costs the event store two reads.
_FIRST_IDLE_SECONDS = 0.1
_LONGEST_IDLE_SECONDS = 60.0
# How long that may take: events that come meanwhile wait.
_IDLE_LOOK_SECONDS = 3.0


def process_batches(
    reader: EventReader,
    processor: BatchProcessor,
    subscription: ApplicationSubscription[Any],
    projection: library.Projection[Any],
    is_stopping: ThreadingEvent,
    catching_up: CatchingUp,
    limits: tuple[tuple[int, float], tuple[int, float]],
    last: int | None = None,
) -> None:
    """
    Process batch after batch; blocks until stopped, or until the subscription ends.

    Args:
        reader: Puts batches together.
        processor: Processes them.
        subscription: What the events come from.
        projection: What processes them.
        is_stopping: Has the batch that is being processed be the last.
        catching_up: Told of each batch.
        limits: Most events in one and how many seconds one waits for others, and the
            same while events are processed once more.
        last: A position behind which nothing is processed; it returns when it comes to
            such an event, and the position is there then. None for no such position.

    Raises:
        Exception: What :meth:`BatchProcessor.process` raises.
    """
    order = commit_order(subscription.recorder)
    connection_keeper = ConnectionKeeper()
    idle_seconds = _FIRST_IDLE_SECONDS
    while True:
        # What comes after this may be there, and unseen, once it is live.
        state = getattr(subscription.subscription, "state", None)
        phase = getattr(state, "phase", None)
        reader.batch_size, reader.batch_seconds = limits[processor.is_replaying]
        reader.decodes_late = processor.is_searching
        events, reason = reader.take(idle_seconds)
        if is_stopping.is_set() or (reason is BatchReason.ENDED and not events):
            return
        found = events
        if last is not None:
            events = [each for each in found if each.notification.id <= last]
        if events:
            connection_keeper.begin_work()
            processor.process(events, reason)
            idle_seconds = _FIRST_IDLE_SECONDS
        elif not found:
            _save_checkpoint(
                processor, subscription, projection, order, connection_keeper, last
            )
            idle_seconds = min(idle_seconds * 4, _LONGEST_IDLE_SECONDS)
        if last is not None and len(events) < len(found):
            if processor.position != last:
                # What is not there between the two is not the projection's.
                connection_keeper.begin_work()
                processor.save_checkpoint(last)
            return
        catching_up.took(reason, phase, processor.position)
        connection_keeper.end_work(idle_seconds)


def _save_checkpoint(
    processor: BatchProcessor,
    subscription: ApplicationSubscription[Any],
    projection: library.Projection[Any],
    order: CommitOrder,
    connection_keeper: ConnectionKeeper,
    last: int | None,
) -> None:
    if last is not None and (processor.position or 0) >= last:
        return
    try:
        with store_deadline(_IDLE_LOOK_SECONDS):
            position = passed_over_position(
                subscription.recorder, processor.position, projection.topics, order
            )
    except PersistenceError as error:
        # The subscription says what is wrong, if it concerns it. This can wait.
        logger.debug("Looking for a later position failed: %s", error)
        return
    if position is not None:
        connection_keeper.begin_work()
        processor.save_checkpoint(position if last is None else min(position, last))
