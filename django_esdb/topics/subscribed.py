"""
Which topics a projection subscribes to: those that it declares, under all their names.

Stored events keep the topic that their class had when they were recorded. When a class
is renamed, ``register_topic`` of the library tells its former name, and events of that
name are the projection's as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from types import ModuleType
from typing import Any

from eventsourcing import utils
from eventsourcing.projection import Projection
from eventsourcing.utils import get_topic, resolve_topic

from django_esdb.exceptions import ConfigurationError
from django_esdb.topics.aliases import apply_topic_aliases


def subscribed_topics(projection_class: type[Projection[Any]]) -> tuple[str, ...]:
    """
    Return a projection's topics, those that it declares first; empty for all topics.

    Behind them are other names that are registered for the same classes, or for the
    classes and modules that these are in.

    Raises:
        ConfigurationError: The topics are not a tuple of strings.
    """
    declared: object = projection_class.topics
    problem = topics_problem(declared)
    if problem is not None:
        msg = f"{projection_class.__qualname__}: {problem}"
        raise ConfigurationError(msg)
    assert isinstance(declared, tuple | list)
    apply_topic_aliases()
    names = dict.fromkeys(declared)
    for topic in declared:
        names.update(dict.fromkeys(_other_names(topic)))
    return tuple(names)


def is_among(topic: str, topics: Collection[str]) -> bool:
    """Return whether a projection of these topics gets events of one; empty for all."""
    return not topics or topic in topics


def topics_problem(topics: object) -> str | None:
    """Return what is wrong with the form of declared topics; None if nothing is."""
    if not isinstance(topics, tuple | list):
        kind = type(topics).__name__
        return f"topics must be a tuple of strings, but is of type {kind}: {topics!r}"
    for topic in topics:
        if isinstance(topic, type):
            return f"topics has the class {topic.__qualname__} instead of its topic"
        if not isinstance(topic, str) or not topic:
            return f"topics must be a tuple of strings, but has {topic!r} in it"
    return None


def class_of(topic: str) -> type | None:
    """Return the class that a topic in the project's code names; None for none."""
    try:
        found = resolve_topic(topic)
    except Exception:
        # Whatever its module raises when it is imported: there is no class.
        return None
    return found if isinstance(found, type) else None


def with_subscribed_topics(
    projection_class: type[Projection[Any]],
) -> type[Projection[Any]]:
    """
    Return the class if it declares all names of its topics, else a subclass that does.

    Raises:
        ConfigurationError: The topics are not a tuple of strings.
    """
    topics = subscribed_topics(projection_class)
    if topics == tuple(projection_class.topics):
        return projection_class
    return _subclass(projection_class, topics)


# One for each, since classes that are made for each term would not be collected soon.
@cache
def _subclass(
    projection_class: type[Projection[Any]], topics: tuple[str, ...]
) -> type[Projection[Any]]:
    metaclass: Any = type(projection_class)
    subclass: type[Projection[Any]] = metaclass(
        projection_class.__name__,
        (projection_class,),
        {
            "name": projection_class.name,
            "topics": topics,
            "__module__": projection_class.__module__,
            "__qualname__": projection_class.__qualname__,
            "__doc__": projection_class.__doc__,
        },
    )
    return subclass


def _other_names(topic: str) -> Iterator[str]:
    found = class_of(topic)
    if found is None:
        return
    current = get_topic(found)
    yield current
    separators: tuple[str, ...]
    for name, registered in utils._topic_cache.copy().items():
        if isinstance(registered, ModuleType):
            whole, separators = registered.__name__, (":", ".")
        elif isinstance(registered, type):
            whole = f"{registered.__module__}:{registered.__qualname__}"
            separators = (".",)
        else:
            continue
        rest = current.removeprefix(whole)
        if rest == "" or (rest != current and rest.startswith(separators)):
            yield name + rest
