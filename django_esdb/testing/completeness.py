"""Whether a projection has a handler for each event that it gets."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import singledispatchmethod
from typing import Any

from django.utils import translation
from eventsourcing.application import Application
from eventsourcing.domain import BaseAggregate
from eventsourcing.projection import Projection
from eventsourcing.utils import get_topic

from django_esdb.checks.topics import check_topics_of, does_nothing, handlers_of
from django_esdb.events.aggregate_events import event_classes
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration
from django_esdb.topics.subscribed import topics_problem


def assert_projection_complete(
    projection_class: type[Projection[Any]],
    *aggregate_classes: type[BaseAggregate[Any]],
) -> None:
    """
    Assert that a projection's topics all have a handler, and its handlers a topic.

    Args:
        projection_class: It need not be registered.
        aggregate_classes: Each of their events has to be among the topics as well. A
            projection without topics, which gets all events, has to be told them.

    Raises:
        AssertionError: With a line for each thing that is missing.
    """
    problems = list(_problems(projection_class, aggregate_classes))
    if problems:
        name = projection_class.__qualname__
        raise AssertionError("\n  ".join([f"{name} is not complete:", *problems]))


def _problems(
    projection_class: type[Projection[Any]],
    aggregate_classes: tuple[type[BaseAggregate[Any]], ...],
) -> Iterator[str]:
    problem = topics_problem(projection_class.topics)
    if problem is not None:
        yield problem
        return
    wanted = [
        get_topic(event_class)
        for aggregate_class in aggregate_classes
        for event_class in event_classes(aggregate_class)
    ]
    checked = projection_class
    if not projection_class.topics:
        if not wanted:
            yield "it has no topics, so it gets all events: name the aggregates as well"
            return
        checked = _with_topics(projection_class, tuple(wanted))
    registration = Registration(
        projection_class=checked,
        application_class=Application,
        view_class=DjangoTrackingRecorder,
    )
    with translation.override(None):
        said = [str(message.msg) for message in check_topics_of(registration)]
    yield from said
    for topic in wanted:
        if topic not in registration.topics:
            yield f"events of {topic!r} are of no topic of it"
    method = inspect.getattr_static(projection_class, "process_event")
    handlers = handlers_of(projection_class)
    if not isinstance(method, singledispatchmethod) or handlers is None:
        yield (
            "process_event is no singledispatchmethod, so it cannot be told which "
            "events it handles: try them with given()"
        )
    elif len(handlers.registered) == 1 and does_nothing(handlers(object)):
        for topic in checked.topics:
            yield f"events of topic {topic!r} have no handler"


def _with_topics(
    projection_class: type[Projection[Any]], topics: tuple[str, ...]
) -> type[Projection[Any]]:
    values = {"topics": topics, "name": projection_class.name}
    return type(projection_class.__name__, (projection_class,), values)
