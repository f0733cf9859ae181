"""Which events are looked at, read from the store as a projection gets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eventsourcing.application import Application
from eventsourcing.persistence import Notification, ProgrammingError

from django_esdb.exceptions import DryRunError
from django_esdb.failures.parking import aggregate_key
from django_esdb.registry import Registration
from django_esdb.status.status import shown
from django_esdb.subscriptions.aggregates import aggregate_notifications, ids_of
from django_esdb.subscriptions.received import Decoder, ReceivedEvent
from django_esdb.topics.subscribed import is_among
from eventsourcing_eventstoredb.text import LONGEST_NAME, quoted


@dataclass(frozen=True)
class Chosen:
    """
    Events to look at, in their order.

    Attributes:
        events: Those that the projection gets.
        has_more: Whether there are more than were asked for.
    """

    events: list[ReceivedEvent]
    has_more: bool = False


@dataclass(frozen=True)
class Choice:
    """
    Which events to look at.

    Attributes:
        aggregate: ID of the aggregate that they are of; empty for any, with *only*.
        start: Position of the first, or what lies before it; None for all.
        only: Position of the one to look at; None for all.
        most: How many to look at.
    """

    aggregate: str = ""
    start: int | None = None
    only: int | None = None
    most: int = 1_000


def chosen_events(
    app: Application[Any], registration: Registration, choice: Choice
) -> Chosen:
    """
    Read events that a projection gets, and decode them.

    Args:
        app: The projection's application.
        registration: The projection.
        choice: Which.

    Raises:
        DryRunError: There is no such event or aggregate, or it is not the
            projection's.
        eventsourcing.persistence.PersistenceError: The store cannot be used.
    """
    decoded = Decoder(registration.application_name, app.mapper)
    if choice.only is not None:
        return Chosen([decoded(_event_at(app, registration, choice))])
    events: list[ReceivedEvent] = []
    is_known = False
    topics = frozenset(registration.topics)
    for notification in aggregate_notifications(app, choice.aggregate):
        is_known = True
        is_early = choice.start is not None and notification.id < choice.start
        if is_early or not is_among(notification.topic, topics):
            continue
        if len(events) == choice.most:
            return Chosen(events, has_more=True)
        events.append(decoded(notification))
    if not is_known:
        msg = (
            f"There are no events of aggregate {quoted(choice.aggregate)} in "
            f"{registration.application_name!r}"
        )
        raise DryRunError(msg)
    return Chosen(events)


def _event_at(
    app: Application[Any], registration: Registration, choice: Choice
) -> Notification:
    position, application = choice.only, registration.application_name
    try:
        found = app.recorder.select_notifications(
            start=position, limit=1, stop=position
        )
    except ProgrammingError:
        # It lies within or behind events.
        found = []
    notification = next((each for each in found if each.id == position), None)
    if notification is None:
        msg = f"There is no event of {application!r} at position {position}"
        raise DryRunError(msg)
    if choice.aggregate and aggregate_key(notification) not in ids_of(choice.aggregate):
        msg = (
            f"The event at position {position} is of another aggregate: "
            f"{quoted(aggregate_key(notification))}"
        )
        raise DryRunError(msg)
    if not is_among(notification.topic, registration.topics):
        msg = (
            f"The event at position {position} is of topic "
            f"{shown(notification.topic, LONGEST_NAME)}, which projection "
            f"{registration.name!r} does not get"
        )
        raise DryRunError(msg)
    return notification
