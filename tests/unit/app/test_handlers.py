from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from eventsourcing import dispatch
from eventsourcing.projection import Projection

from django_esdb.handlers.functions import EventHandlers


class Plain(Projection[Any]):
    def process_event(self, domain_event: Any, tracking: Any) -> Any:
        return "plain", domain_event, tracking


class Standard(Projection[Any]):
    @functools.singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Any) -> Any:
        return "any", domain_event, tracking

    @process_event.register
    def number(self, domain_event: int, tracking: Any) -> Any:
        return "number", domain_event, tracking


class Librarys(Projection[Any]):
    @dispatch.singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Any) -> Any:
        return "any", domain_event, tracking

    @process_event.register
    def number(self, domain_event: int, tracking: Any) -> Any:
        return "number", domain_event, tracking


class Inherited(Librarys):
    def number(self, domain_event: int, tracking: Any) -> Any:
        raise AssertionError


class _Louder(dispatch.singledispatchmethod[Any]):
    def __get__(self, obj: Any, cls: Any = None) -> Callable[..., Any]:
        method = super().__get__(obj, cls)
        return lambda *args: ("loud", *method(*args))


class Louder(Projection[Any]):
    @_Louder
    def process_event(self, domain_event: Any, tracking: Any) -> Any:
        return "any", domain_event, tracking


class Overriding(Standard):
    def process_event(self, domain_event: Any, tracking: Any) -> Any:
        return "overriding", domain_event, tracking


@pytest.mark.parametrize(
    "kind", [Plain, Standard, Librarys, Inherited, Louder, Overriding]
)
def test_handlers_are_those_that_the_projection_itself_would_call(
    kind: type[Projection[Any]],
) -> None:
    projection = kind(object())
    handler_of = EventHandlers(projection).for_batch()

    for domain_event in (1, True, "text", None, 2):
        expected = projection.process_event(domain_event, "tracking")
        assert handler_of(type(domain_event))(domain_event, "tracking") == expected


def test_what_an_instance_has_of_its_own_is_called() -> None:
    projection: Any = Standard(object())
    handlers = EventHandlers(projection)
    projection.process_event = lambda domain_event, tracking: "own"

    assert handlers.for_batch()(int)(1, "tracking") == "own"


def test_handlers_that_are_registered_later_are_found_by_the_next_batch() -> None:
    class Growing(Projection[Any]):
        @dispatch.singledispatchmethod
        def process_event(self, domain_event: Any, tracking: Any) -> Any:
            return "any"

    handlers = EventHandlers(Growing(object()))
    assert handlers.for_batch()(str)("text", None) == "any"

    Growing.__dict__["process_event"].register(str, lambda *args: "text")

    assert handlers.for_batch()(str)("text", None) == "text"
