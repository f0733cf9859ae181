"""Which events an aggregate's class has."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

from eventsourcing.domain import BaseAggregate, CanInitAggregate, CanMutateAggregate

# What the library gives a value itself, whatever the event is about.
OWN_FIELDS = frozenset(
    ("originator_id", "originator_version", "originator_topic", "timestamp")
)


def event_classes(
    aggregate_class: type[BaseAggregate[Any]],
) -> tuple[type[CanMutateAggregate[Any]], ...]:
    """
    Return the classes of the events that aggregates of a class can have.

    Those that begin an aggregate come first, else in the order of their definition.
    Left out are the base of all, ``Event``, and the ``Created`` that each aggregate
    has from the library, where another event begins it.
    """
    found: dict[str, type[CanMutateAggregate[Any]]] = {}
    for name, value in vars(aggregate_class).items():
        is_event = isinstance(value, type) and issubclass(value, CanMutateAggregate)
        if is_event and name != "Event":
            found[name] = value
    first = {name: cls for name, cls in found.items() if begins(cls)}
    if len(first) > 1 and "Created" in first and not field_names(first["Created"]):
        del first["Created"]
    later = [cls for cls in found.values() if not begins(cls)]
    return (*first.values(), *later)


def begins(event_class: type) -> bool:
    """Return whether events of a class are the first ones of an aggregate."""
    return issubclass(event_class, CanInitAggregate)


def parameters(event_class: type) -> dict[str, inspect.Parameter]:
    """Return what an event's class is called with, by name and in order."""
    signature = inspect.signature(event_class.__init__)  # type: ignore[misc]
    found = tuple(signature.parameters.values())[1:]
    return {
        each.name: each
        for each in found
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }


def field_names(event_class: type) -> tuple[str, ...]:
    """Return what events of a class say, besides what the library has in each."""
    return tuple(name for name in parameters(event_class) if name not in OWN_FIELDS)


def type_hints(event_class: type) -> dict[str, Any]:
    """Return the types of an event's values, by name; none if one cannot be told."""
    try:
        return get_type_hints(event_class)
    except NameError:
        # Of a name that is imported for type checkers alone.
        return {}
