"""System checks of projections' topics: what they miss would be left out silently."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator
from functools import singledispatchmethod
from typing import Any

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.utils.translation import gettext as _
from eventsourcing.projection import Projection
from eventsourcing.utils import get_topic

from django_esdb.conf import application_environment
from django_esdb.exceptions import ConfigurationError
from django_esdb.registry import Registration, registry
from django_esdb.topics.allowlist import allowlist_of
from django_esdb.topics.subscribed import class_of, topics_problem

# What a function has that does nothing but return None.
_DOES_NOTHING = frozenset(
    ("RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "CACHE")
)


# How many topics are named, of those that are missing.
_NAMED = 5


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
            _("Projection %(name)s: %(reason)s.")
            % {"name": registration.name, "reason": problem},
            hint=_("Write topics = (get_topic(Dog.Registered), ...), with the comma."),
            obj=projection_class,
            id="django_esdb.E020",
        )
        return
    classes = {topic: class_of(topic) for topic in projection_class.topics}
    for topic, event_class in classes.items():
        if event_class is None:
            yield Error(
                _("Projection %(name)s: topic %(topic)s does not resolve to a class.")
                % {"name": registration.name, "topic": repr(topic)},
                hint=(
                    _(
                        "Use get_topic(...) of the event's class. If it was "
                        "renamed, register_topic(...) says its former name."
                    )
                ),
                obj=projection_class,
                id="django_esdb.E021",
            )
    known = {topic: found for topic, found in classes.items() if found is not None}
    events = known.copy()
    for message, topic in _check_classes(registration, known):
        del events[topic]
        yield message
    yield from _check_derived(registration, events)
    yield from _check_handlers(registration, events)


def _check_classes(
    registration: Registration, classes: dict[str, type]
) -> Iterator[tuple[CheckMessage, str]]:
    """Return what is wrong with topics that no event can have, and with which."""
    application_class = registration.application_class
    try:
        allowlist = allowlist_of(application_environment(application_class))
    except ConfigurationError:
        # Another check reports it.
        return
    for topic, found in classes.items():
        if allowlist.makes_notified_events(found):
            continue
        message = Error(
            _(
                "Projection %(name)s: topic %(topic)s names no class of events, so "
                "nothing will ever be of it."
            )
            % {"name": registration.name, "topic": repr(topic)},
            hint=_(
                "Use get_topic(...) of each event's class; aggregates and snapshots "
                "are not sent to projections."
            ),
            obj=registration.projection_class,
            id="django_esdb.E025",
        )
        yield message, topic


def _check_derived(
    registration: Registration, classes: dict[str, type]
) -> Iterator[CheckMessage]:
    """Events of derived classes have topics of their own, which need be asked for."""
    asked = set(classes.values())
    for topic, event_class in classes.items():
        derived = _derived(event_class)
        missing = sorted(derived[each] for each in set(derived) - asked)
        if not missing:
            continue
        more = len(missing) - _NAMED
        yield Warning(
            _(
                "Projection %(name)s: topic %(topic)s does not include events of "
                "classes that derive from it: %(topics)s."
            )
            % {
                "name": registration.name,
                "topic": repr(topic),
                "topics": ", ".join(map(repr, missing[:_NAMED]))
                + (f" (+{more})" if more > 0 else ""),
            },
            hint=_("Add them to topics, or silence this check."),
            obj=registration.projection_class,
            id="django_esdb.W025",
        )


def _derived(event_class: type) -> dict[type, str]:
    """Return classes that derive from one, with their topics, as far as imported."""
    found: dict[type, str] = {}
    derived: list[type] = event_class.__subclasses__()
    for each in derived:
        # As get_topic() does, which also remembers classes that nothing leads to.
        topic = getattr(each, "TOPIC", f"{each.__module__}:{each.__qualname__}")
        if class_of(topic) is each:
            found[each] = topic
        found |= _derived(each)
    return found


def _check_handlers(
    registration: Registration, classes: dict[str, type]
) -> Iterator[CheckMessage]:
    projection_class = registration.projection_class
    handlers = handlers_of(projection_class)
    # With a default alone it cannot be told what that one takes.
    if handlers is None or len(handlers.registered) < 2 or not classes:
        return
    default = handlers(object)
    for topic, event_class in classes.items():
        if handlers(event_class) is default and does_nothing(default):
            yield Warning(
                _("Projection %(name)s: events of topic %(topic)s have no handler.")
                % {"name": registration.name, "topic": repr(topic)},
                hint=_("Register one with @process_event.register, or leave it out."),
                obj=projection_class,
                id="django_esdb.W020",
            )
    for handled in handlers.registered:
        if handled is object or any(
            issubclass(event_class, handled) for event_class in classes.values()
        ):
            continue
        yield Warning(
            _(
                "Projection %(name)s: the handler of %(qualname)s is never called, "
                "since no topic is of that class."
            )
            % {"name": registration.name, "qualname": handled.__qualname__},
            hint=_("Add %(handled)s to topics, or remove the handler.")
            % {"handled": repr(get_topic(handled))},
            obj=projection_class,
            id="django_esdb.W021",
        )


class Handlers:
    """
    Which function a single-dispatch method calls for a class of events.

    Attributes:
        registered: The classes that have a function of their own; ``object`` for the
            default.
    """

    def __init__(self, dispatcher: Any) -> None:
        self.registered: tuple[type, ...] = tuple(dispatcher.registry)
        self._dispatch: Callable[[type], Any] = dispatcher.dispatch

    def __call__(self, event_class: type) -> Any:
        return self._dispatch(event_class)


def handlers_of(projection_class: type[Projection[Any]]) -> Handlers | None:
    """Return the handlers, with the default; None if they cannot be told apart."""
    method = inspect.getattr_static(projection_class, "process_event", None)
    if not isinstance(method, singledispatchmethod):
        return None
    # The library registers some only when the method is looked up.
    method.__get__(None, projection_class)
    return Handlers(method.dispatcher)


def does_nothing(function: Any) -> bool:
    """Return whether events are passed over, or refused as not implemented."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return False
    if {each.opname for each in dis.get_instructions(code)} <= _DOES_NOTHING:
        return True
    return set(code.co_names) == {"NotImplementedError"}
