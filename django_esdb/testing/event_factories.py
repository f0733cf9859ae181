"""Events for tests, of which only what matters has to be said."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import (
    Any,
    Generic,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

from eventsourcing.domain import Aggregate, BaseAggregate, CanMutateAggregate
from eventsourcing.utils import get_topic

from django_esdb.events.aggregate_events import (
    OWN_FIELDS,
    begins,
    event_classes,
    parameters,
    type_hints,
)

TAggregate = TypeVar("TAggregate", bound=BaseAggregate[Any])
TEvent = TypeVar("TEvent", bound=CanMutateAggregate[Any])

_SAMPLES: dict[Any, Any] = {
    int: 1,
    float: 1.0,
    bool: False,
    bytes: b"",
    Decimal: Decimal(1),
    UUID: UUID(int=1, version=4),
    datetime: datetime(2020, 1, 1, 12, tzinfo=UTC),
    date: date(2020, 1, 1),
    time: time(12),
    timedelta: timedelta(0),
    type(None): None,
}
_EMPTY = (list, tuple, dict, set, frozenset)


class EventFactory(Generic[TAggregate]):
    """
    Makes the events of one aggregate, one after the other.

    ``fido = EventFactory(Dog)`` has a method for each event of the class, which takes
    what the event says by name: ``fido.Registered(name="Fido")``. What is not said is
    made up from the types in the event's signature: a text is the field's name, a
    number 1, a list empty, and what may be None is None. Versions count up from the
    class's ``INITIAL_VERSION``; each timestamp is the time of the call.

    Args:
        aggregate_class: The aggregate's class.
        id: The aggregate's. By default ``create_id`` of the class makes it, from what
            the first event says, if that is one that begins an aggregate.

    Attributes:
        id: The aggregate's ID; None until the first event, if it was not given.
        version: Of the next event.
    """

    def __init__(
        self,
        aggregate_class: type[TAggregate],
        id: UUID | str | None = None,  # noqa: A002 - the library's word
    ) -> None:
        self._aggregate_class = aggregate_class
        self.id = id
        self.version = aggregate_class.INITIAL_VERSION

    def __call__(self, event_class: type[TEvent], /, **values: Any) -> TEvent:
        """
        Make the next event.

        Args:
            event_class: Its class.
            values: What it says, by name. ``originator_version`` and ``timestamp``
                may be among it.

        Raises:
            TypeError: The event has no such field, or there is one that no value can be
                made up for.
        """
        takes = parameters(event_class)
        unknown = [name for name in values if name not in takes]
        if unknown:
            msg = (
                f"{event_class.__qualname__} has no {', '.join(unknown)}; "
                f"it has {', '.join(takes)}"
            )
            raise TypeError(msg)
        values = {**self._made_up(event_class, values), **values}
        if self.id is None:
            self.id = self._new_id(event_class, values)
        own = {
            "originator_id": self.id,
            "originator_version": self.version,
            "originator_topic": get_topic(self._aggregate_class),
            "timestamp": event_class.create_timestamp(),
        }
        own = {name: value for name, value in own.items() if name in takes}
        event = event_class(**{**own, **values})
        self.version = event.originator_version + 1
        return event

    def __getattr__(self, name: str) -> Callable[..., Any]:
        known = {cls.__name__: cls for cls in event_classes(self._aggregate_class)}
        if name not in known:
            msg = (
                f"{self._aggregate_class.__qualname__} has no event {name}; "
                f"it has {', '.join(known)}"
            )
            raise AttributeError(msg)

        def make(**values: Any) -> Any:
            return self(known[name], **values)

        return make

    def _made_up(self, event_class: type, values: dict[str, Any]) -> dict[str, Any]:
        takes = parameters(event_class)
        missing = [
            name
            for name, parameter in takes.items()
            if name not in OWN_FIELDS
            and name not in values
            and parameter.default is parameter.empty
        ]
        hints = type_hints(event_class) if missing else {}
        made = {}
        for name in missing:
            try:
                made[name] = _sample(hints[name], name)
            except LookupError:
                msg = (
                    f"say {name}=... of {event_class.__qualname__}: no value can be "
                    f"made up for {takes[name].annotation}"
                )
                raise TypeError(msg) from None
        return made

    def _new_id(self, event_class: type, values: dict[str, Any]) -> UUID | str:
        if "originator_id" in values:
            given: UUID | str = values["originator_id"]
            return given
        create_id = self._aggregate_class.create_id
        takes = inspect.signature(create_id).parameters.values()
        named = [
            each
            for each in takes
            if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        ]
        known = {each.name: values[each.name] for each in named if each.name in values}
        if begins(event_class) or all(each.name in known for each in named):
            try:
                made: UUID | str = create_id(**known)
            except NotImplementedError:
                name = self._aggregate_class.__qualname__
                msg = f"say EventFactory({name}, id=...): {name} makes no IDs"
                raise TypeError(msg) from None
            return made
        # As the library makes it, so that it can be fixed.
        return Aggregate.create_id()


def _sample(hint: Any, name: str) -> Any:
    """Return some value of a type; raises a LookupError if none is known."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        options = get_args(hint)
        return None if type(None) in options else _sample(options[0], name)
    if origin is Literal:
        return get_args(hint)[0]
    kind = origin or hint
    if kind is str or kind is Any:
        return name
    if kind in _SAMPLES:
        return _SAMPLES[kind]
    if kind in _EMPTY:
        return kind()
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(
            **{
                field.name: _sample(hints[field.name], field.name)
                for field in dataclasses.fields(kind)
                if field.init
                and field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            }
        )
    raise LookupError(kind)
