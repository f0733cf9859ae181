"""How far an application's events go, and how many a projection has before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from eventsourcing.application import Application
from eventsourcing.persistence import ApplicationRecorder, Notification

from eventsourcing_eventstoredb.streams.mapping import recorded_time

# Whose notification IDs are 1, 2, 3 and so on.
_COUNTING_MODULES = (
    "eventsourcing.popo",
    "eventsourcing.postgres",
    "eventsourcing.sqlite",
    "eventsourcing_django.recorders",
)


@dataclass(frozen=True)
class Head:
    """
    Where an application's events end.

    Attributes:
        position: A notification ID, or with EventStoreDB the position of the last
            event of all, whosever it is.
        time: When that event was recorded, as a model's field takes it; None if that
            is not known.
    """

    position: int
    time: datetime | None


def find_head(app: Application[Any], known: Head | None) -> Head | None:
    """
    Return where an application's events end, None if there is none.

    Args:
        app: The application.
        known: What was found before; its event is not read again.

    Raises:
        PersistenceError: The store cannot be asked.
    """
    recorder: Any = app.recorder
    ask = getattr(recorder, "log_head", None)
    if ask is not None:
        last = ask()
        return None if last is None else Head(last.position, as_field(last.time))
    # Not all modules say None where there is nothing.
    position = recorder.max_notification_id() or None
    if position is None or (known is not None and known.position == position):
        return known if position else None
    found = recorder.select_notifications(start=position, limit=1, stop=position)
    return Head(position, _decoded_time(app, found[0]) if found else None)


def end_position(recorder: ApplicationRecorder) -> int:
    """
    Return the highest position that an application's events may have, 0 for none.

    Raises:
        PersistenceError: The store cannot be asked.
    """
    ask = getattr(recorder, "log_head", None)
    if ask is None:
        # Not all modules say None where there is nothing.
        return recorder.max_notification_id() or 0
    last = ask()
    return 0 if last is None else int(last.position)


def counts_by_ids(recorder: ApplicationRecorder) -> bool:
    """Return whether the difference of two notification IDs is a number of events."""
    return any(base.__module__ in _COUNTING_MODULES for base in type(recorder).__mro__)


def count_events(
    recorder: ApplicationRecorder,
    after: int | None,
    head: int,
    topics: Sequence[str],
    limit: int,
) -> int:
    """
    Return how many events lie behind a position, up to a head and a limit.

    Reads as many events.

    Raises:
        PersistenceError: The store cannot be asked.
    """
    if after is not None and after >= head:
        return 0
    return len(
        recorder.select_notifications(
            start=after,
            limit=limit,
            stop=head,
            topics=topics,
            inclusive_of_start=False,
        )
    )


def event_time(notification: Notification, domain_event: Any) -> datetime | None:
    """
    Return when an event was recorded, as a model's field takes it.

    EventStoreDB says it; elsewhere it is the time in the event, if it has one.
    """
    created = getattr(notification, "created", None)
    if created is not None:
        return as_field(recorded_time(created))
    return as_field(getattr(domain_event, "timestamp", None))


def as_field(value: object) -> datetime | None:
    """Return a time as a model's field takes it; None for what is no time."""
    if not isinstance(value, datetime):
        return None
    if timezone.is_naive(value):
        value = value.replace(tzinfo=UTC)
    try:
        return value if settings.USE_TZ else timezone.make_naive(value)
    except OverflowError:
        return None


def _decoded_time(app: Application[Any], notification: Notification) -> datetime | None:
    try:
        return event_time(notification, app.mapper.to_domain_event(notification))
    except BaseException:
        # Also what would end the thread: it is told when the event is processed.
        return None
