"""System checks of projections' topics: what they miss would be left out silently."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator
from functools import singledispatchmethod
from typing import Any

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from eventsourcing.projection import Projection
from eventsourcing.utils import get_topic

from django_esdb.registry import Registration, registry
from django_esdb.subscribed_topics import class_of, topics_problem

# What a function has that does nothing but return None.
_DOES_NOTHING = frozenset(
    ("RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "CACHE")
)


def check_topics() -> Iterator[CheckMessage]:
    """Topics must be strings that name classes, with a handler for each, and back."""
    for registration in registry:
        yield from check_topics_of(registration)


def check_topics_of(registration: Registration) -> Iterator[CheckMessage]:
    """Return what is wrong with one projection's topics."""
    projection_class = registration.projection_class
    problem = topics_problem(projection_class.topics)
    if problem is not None:
        yield Error(
            f"Projection {registration.name}: {problem}.",
            hint="Write topics = (get_topic(Dog.Registered), ...), with the comma.",
            obj=projection_class,
            id="django_esdb.E020",
        )
        return
    classes = {topic: class_of(topic) for topic in projection_class.topics}
    for topic, event_class in classes.items():
        if event_class is None:
            yield Error(
                f"Projection {registration.name}: topic {topic!r} does not resolve to "
                "a class.",
                hint=(
                    "Use get_topic(...) of the event's class. If it was renamed, "
                    "register_topic(...) says its former name."
                ),
                obj=projection_class,
                id="django_esdb.E021",
            )
    known = {topic: found for topic, found in classes.items() if found is not None}
    yield from _check_handlers(registration, known)


def _check_handlers(
    registration: Registration, classes: dict[str, type]
) -> Iterator[CheckMessage]:
    projection_class = registration.projection_class
    handlers = _handlers(projection_class)
    if handlers is None or not classes:
        return
    default = handlers(object)
    for topic, event_class in classes.items():
        if handlers(event_class) is default and _does_nothing(default):
            yield Warning(
                f"Projection {registration.name}: events of topic {topic!r} have no "
                "handler.",
                hint="Register one with @process_event.register, or leave it out.",
                obj=projection_class,
                id="django_esdb.W020",
            )
    for handled in handlers.registered:
        if handled is object or any(
            issubclass(event_class, handled) for event_class in classes.values()
        ):
            continue
        yield Warning(
            f"Projection {registration.name}: the handler of {handled.__qualname__} is "
            "never called, since no topic is of that class.",
            hint=f"Add {get_topic(handled)!r} to topics, or remove the handler.",
            obj=projection_class,
            id="django_esdb.W021",
        )


class _Handlers:
    """Which function a single-dispatch method calls for a class of events."""

    def __init__(self, dispatcher: Any) -> None:
        self.registered: tuple[type, ...] = tuple(dispatcher.registry)
        self._dispatch: Callable[[type], Any] = dispatcher.dispatch

    def __call__(self, event_class: type) -> Any:
        return self._dispatch(event_class)


def _handlers(projection_class: type[Projection[Any]]) -> _Handlers | None:
    """Return the handlers, if they can be told from outside and there are some."""
    method = inspect.getattr_static(projection_class, "process_event", None)
    if not isinstance(method, singledispatchmethod):
        return None
    # The library registers some only when the method is looked up.
    method.__get__(None, projection_class)
    handlers = _Handlers(method.dispatcher)
    return handlers if len(handlers.registered) > 1 else None


def _does_nothing(function: Any) -> bool:
    """Return whether events are passed over, or refused as not implemented."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return False
    if {each.opname for each in dis.get_instructions(code)} <= _DOES_NOTHING:
        return True
    return set(code.co_names) == {"NotImplementedError"}
