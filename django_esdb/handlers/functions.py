"""
What a function that processes events may be.

Handlers are called, and what they return is neither awaited nor iterated over. One
that is ``async def`` or a generator would be passed over with each event.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import singledispatchmethod
from typing import Any

from eventsourcing import dispatch

from django_esdb.handlers import forks

_DISPATCHING = (singledispatchmethod, dispatch.singledispatchmethod)

_FIX = "is called and not awaited: make it a plain function, without await and yield"


class CheckedProjection:
    """
    A projection for the library's own loop, in which nothing that is returned is lost.

    Args:
        projection: The library's.
        around: Makes the context in which each event is processed.
    """

    def __init__(
        self,
        projection: Any,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._process_event = projection.process_event
        self._around = around

    def process_event(self, domain_event: Any, tracking: Any) -> None:
        """Process an event; raises a TypeError if the handler has only begun."""
        depth = forks.depth
        with self._around():
            try:
                returned = self._process_event(domain_event, tracking)
            finally:
                if forks.depth != depth:
                    forks.end_child()
        if returned is not None:
            check_returned(returned)


class EventHandlers:
    """
    What a projection does with each class of events, looked up once in a batch.

    That of a ``singledispatchmethod`` is looked up by Python for each event, which
    takes as long as a small handler.

    Args:
        projection: The library's.
    """

    def __init__(self, projection: Any) -> None:
        self._projection = projection
        declared = inspect.getattr_static(type(projection), "process_event", None)
        # A subclass of these may choose in another way.
        is_known = type(declared) in _DISPATCHING
        self._dispatcher: Any = declared.dispatcher if is_known else None

    def for_batch(self) -> Callable[[type], Callable[..., Any]]:
        """
        Return a function that gives what takes events of a class, and their trackings.

        Handlers that are registered later are found by that of the next batch.
        """
        # Also sees to handlers whose types were not known yet.
        process_event = self._projection.process_event
        if self._dispatcher is None or "process_event" in vars(self._projection):
            return lambda kind: process_event
        return _BoundHandlers(self._bound).__getitem__

    def _bound(self, kind: type) -> Callable[..., Any]:
        handler: Any = self._dispatcher.dispatch(kind)
        bound: Callable[..., Any] = handler.__get__(
            self._projection, type(self._projection)
        )
        return bound


class _BoundHandlers(dict[type, Callable[..., Any]]):
    """
    Handlers by the class of events, each looked up when it is first asked for.

    Args:
        look_up: Returns the handler of a class.
    """

    def __init__(self, look_up: Callable[[type], Callable[..., Any]]) -> None:
        self._look_up = look_up

    def __missing__(self, kind: type) -> Callable[..., Any]:
        handler = self[kind] = self._look_up(kind)
        return handler


def check_returned(returned: object, what: str = "a handler") -> None:
    """
    Refuse what a function has returned, if the function's code has not run yet.

    Args:
        returned: What it has returned.
        what: What the function is, for messages.

    Raises:
        TypeError: It is an awaitable or a generator.
    """
    is_begun = isinstance(returned, Generator | AsyncGenerator)
    if not is_begun and not inspect.isawaitable(returned):
        return
    kind = type(returned).__name__
    if inspect.iscoroutine(returned) or isinstance(returned, Generator):
        # Else Python warns that it was never awaited.
        returned.close()
    msg = f"{what} has returned a {kind}, but {_FIX}"
    raise TypeError(msg)


def refuse_unusable_handlers(cls: type) -> None:
    """
    Refuse a projection's or a view's class that has handlers which cannot be called.

    Handlers are ``process_event``, what a ``singledispatchmethod`` has for the types of
    events, and public methods that have an argument ``tracking``.

    Raises:
        TypeError: One is ``async def`` or a generator.
    """
    for name, handler in _handlers(cls):
        kind = _kind(handler)
        if kind:
            msg = f"{cls.__module__}.{cls.__qualname__}.{name} is {kind}, but {_FIX}"
            raise TypeError(msg)


def _handlers(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in dir(cls):
        value = inspect.getattr_static(cls, name, None)
        if isinstance(value, singledispatchmethod):
            # The library's keeps those whose types are not known yet.
            for each in (
                *value.dispatcher.registry.values(),
                *getattr(value, "deferred_registrations", ()),
            ):
                function = _function(each)
                yield getattr(function, "__name__", name), function
            continue
        function = _function(value)
        if name == "process_event" or (
            not name.startswith("_") and _has_tracking(function)
        ):
            yield name, function


def _function(value: Any) -> Any:
    """Return the function in a method's wrapper, such as a static method's."""
    value = getattr(value, "__func__", value)
    while hasattr(value, "func"):
        value = value.func
    return value


def _has_tracking(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    count = code.co_argcount + code.co_kwonlyargcount
    return "tracking" in code.co_varnames[:count]


def _kind(function: Any) -> str:
    if inspect.iscoroutinefunction(function):
        return "async def"
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        return "a generator"
    return ""
