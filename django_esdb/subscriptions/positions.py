"""Positions, and whether they are of the store that is read from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from eventsourcing.application import Application
from eventsourcing.persistence import ApplicationRecorder, Notification

from django_esdb.exceptions import OtherStoreError
from django_esdb.models import ProjectionTracking
from django_esdb.subscriptions.commit_order import CommitOrder
from django_esdb.subscriptions.heads import end_position
from eventsourcing_eventstoredb.exceptions import (
    NodeBehindError,
    PositionRefusedError,
)
from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.text import storable

logger = logging.getLogger("django_esdb.runner")


def event_identity(notification: Notification) -> str:
    """
    Return what tells an event from all others, in whichever store.

    EventStoreDB gives each event an ID. Elsewhere it is the aggregate's ID and the
    event's version, which nearly always differ from store to store.
    """
    event_id = getattr(notification, "event_id", None)
    return storable(
        event_id or f"{notification.originator_id}/{notification.originator_version}"
    )


def check_same_store(
    recorder: ApplicationRecorder, tracking: ProjectionTracking
) -> None:
    """
    Compare the last event that a projection has processed with what is there now.

    Reads one event. Where events are processed once more, the store has to reach up to
    where that ends.

    Raises:
        OtherStoreError: At its position there is another event, or none can be.
        NodeBehindError: A node of a cluster does not reach so far.
        PersistenceError: The store could not be asked, or does not answer this user.
    """
    _check_last_event(recorder, tracking)
    if tracking.is_replaying:
        _check_end(recorder, tracking)


def _check_last_event(
    recorder: ApplicationRecorder, tracking: ProjectionTracking
) -> None:
    position = tracking.event_position
    if position is None or not tracking.event_id:
        return
    try:
        found = recorder.select_notifications(start=position, limit=1, stop=position)
    except PositionRefusedError as error:
        raise _another_event(tracking, "is none") from error
    if not found:
        # A scavenge removes deleted streams' events.
        log(
            logger,
            logging.WARNING,
            "The last processed event is not in the store any more",
            projection=tracking.projection,
            application=tracking.application,
            position=position,
        )
    elif event_identity(found[0]) != tracking.event_id:
        raise _another_event(tracking, "is another one")


def _check_end(recorder: ApplicationRecorder, tracking: ProjectionTracking) -> None:
    """Nothing else tells: who has started over has processed no event of the store."""
    until, end = tracking.replay_until, end_position(recorder)
    if until is None or until <= end:
        return
    said = (
        f"Projection {tracking.projection!r} is to process the events of "
        f"{tracking.application!r} up to position {until} once more, and the store's "
        f"end is at {end}"
    )
    if getattr(recorder, "may_be_behind", False):
        raise NodeBehindError(said)
    raise _other_store(said)


def passed_over_position(
    recorder: ApplicationRecorder,
    after: int | None,
    topics: Sequence[str],
    order: CommitOrder,
) -> int | None:
    """
    Return up to where a projection that is idle has nothing left to process.

    Args:
        recorder: Of the application; on any persistence module.
        after: Up to where all is processed; None for nothing.
        topics: Topics that count; empty for all.
        order: What is known of the order in which the recorder's IDs appear.

    Returns:
        A notification ID beyond *after*, up to which nothing is or can become the
        projection's. None if there is none, or if there is something to process.

    Raises:
        PersistenceError: The store cannot be asked.
    """
    ask = getattr(recorder, "passed_over_position", None)
    if ask is not None:
        position: int | None = ask(after, topics)
        return position
    start = after or 0
    # Not all modules say None where there is nothing.
    head = recorder.max_notification_id() or 0
    if head > start:
        head = order.high_water_mark(start, head)
    if head <= start or recorder.select_notifications(
        start=after, limit=1, stop=head, topics=topics, inclusive_of_start=False
    ):
        return None
    return head


def is_caught_up(
    app: Application[Any], topics: Sequence[str], position: int | None, head: int | None
) -> bool:
    """
    Return whether no event is left between a position and a head.

    Asks the event store, where the position is before the head.

    Args:
        app: Whose events they are.
        topics: Topics that count; empty for all.
        position: Up to where all is processed; None for nothing.
        head: A notification ID; None is always reached.
    """
    if head is None or (position is not None and position >= head):
        return True
    ask = getattr(app.recorder, "passed_over_position", None)
    if ask is not None:
        # The node that is asked may lag behind the head: then nothing is known.
        passed_over = ask(position, topics)
        return passed_over is not None and passed_over >= head
    return not app.recorder.select_notifications(
        start=position,
        limit=1,
        stop=head,
        topics=topics,
        inclusive_of_start=False,
    )


def _another_event(tracking: ProjectionTracking, what: str) -> OtherStoreError:
    return _other_store(
        f"Projection {tracking.projection!r} has processed event {tracking.event_id} "
        f"at position {tracking.event_position} of {tracking.application!r}, where "
        f"there {what} now"
    )


def _other_store(said: str) -> OtherStoreError:
    return OtherStoreError(
        f"{said}: this is another store, or it was emptied; connect to the one that "
        "has the events, or begin the projection again by resetprojection "
        "--with-effects"
    )
