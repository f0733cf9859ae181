"""What an aggregate decides, and whether its events tell all that it knows then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from eventsourcing.application import Application

from django_esdb.testing.event_texts import event_text
from django_esdb.testing.projecting import MEMORY
from django_esdb.testing.rows import shown

_PENDING = "_pending_events"


class Decision:
    """
    A command of an aggregate.

    Args:
        events: What has happened to the aggregate.
        command: Called with it, or with nothing if nothing has happened.
        application: Whose transcodings are used; None for the library's.
    """

    def __init__(
        self,
        events: Sequence[Any],
        command: Callable[..., Any],
        application: type[Application[Any]] | None,
    ) -> None:
        self._events = events
        self._command = command
        cls = application or Application[Any]
        prefix = cls.name.upper()
        self._mapper = cls(
            {"PERSISTENCE_MODULE": MEMORY, f"{prefix}_PERSISTENCE_MODULE": MEMORY}
        ).mapper

    def expect(self, expected: Sequence[Any]) -> None:
        """
        Assert that the command leads to these events.

        Raises:
            AssertionError: It leads to others, or the aggregate is another one when
                it is loaded.
        """
        aggregate = self._decided()
        events = list(aggregate.collect_events())
        lines = _event_differences(expected, events)
        if lines:
            self._fail("The events are not those that were expected", lines)
        everything = [*self._events, *events]
        for way, loaded in (
            ("loaded", self._made_of(everything)),
            ("saved and loaded after each event", self._made_step_by_step(everything)),
        ):
            lines = _state_differences(aggregate, loaded)
            if lines:
                self._fail(f"When it is {way}, the aggregate is another one", lines)

    def refusal(self) -> BaseException | None:
        """
        Return what the command raises; None if it raises nothing.

        Raises:
            AssertionError: It raises, yet has led to events.
        """
        aggregate = self._made_of(self._events) if self._events else None
        try:
            self._call(aggregate)
        except Exception as error:
            left = [] if aggregate is None else aggregate.pending_events
            if left:
                lines = [event_text(event) for event in left]
                what = f"The command has raised {type(error).__name__} after events"
                self._fail(what, lines)
            return error
        return None

    def _decided(self) -> Any:
        aggregate = self._made_of(self._events) if self._events else None
        returned = self._call(aggregate)
        if aggregate is not None:
            return aggregate
        if not hasattr(returned, "collect_events"):
            msg = (
                "without given events the command returns a new aggregate, but it has "
                f"returned {shown(returned)}"
            )
            raise TypeError(msg)
        return returned

    def _call(self, aggregate: Any) -> Any:
        return self._command() if aggregate is None else self._command(aggregate)

    def _made_of(self, events: Sequence[Any]) -> Any:
        """Return the aggregate that events lead to, as they are stored."""
        aggregate = None
        for event in events:
            aggregate = self._stored(event).mutate(aggregate)
        return aggregate

    def _made_step_by_step(self, events: Sequence[Any]) -> Any:
        aggregate = None
        for event in events:
            aggregate = self._stored(event).mutate(deepcopy(aggregate))
        return aggregate

    def _stored(self, event: Any) -> Any:
        return self._mapper.to_domain_event(self._mapper.to_stored_event(event))

    def _fail(self, what: str, lines: Sequence[str]) -> None:
        given = [f"given {event_text(event)}" for event in self._events]
        text = "\n  ".join([f"{what}:", *lines])
        listed = "\n  ".join(["Events:", *(given or ["given none"])])
        raise AssertionError(f"{text}\n{listed}")


def _event_differences(expected: Sequence[Any], found: Sequence[Any]) -> list[str]:
    lines = []
    for number in range(max(len(expected), len(found))):
        mine = expected[number] if number < len(expected) else None
        other = found[number] if number < len(found) else None
        if mine is None or other is None:
            which = "expected alone" if other is None else "found alone"
            lines.append(f"{which}: {event_text(mine or other)}")
        elif type(mine) is not type(other):
            texts = event_text(mine), event_text(other)
            lines.append(f"expected {texts[0]}, found {texts[1]}")
        else:
            lines += _attribute_differences(
                f"{type(mine).__qualname__}, ", vars(mine), vars(other), {"timestamp"}
            )
    return lines


def _state_differences(aggregate: Any, loaded: Any) -> list[str]:
    if type(aggregate) is not type(loaded):
        return [f"it was {aggregate!r}, and is {loaded!r}"]
    return _attribute_differences(
        "", vars(aggregate), vars(loaded), {_PENDING}, ("was", "is")
    )


def _attribute_differences(
    what: str,
    expected: dict[str, Any],
    found: dict[str, Any],
    but: set[str],
    words: tuple[str, str] = ("expected", "found"),
) -> list[str]:
    return [
        f"{what}{name.lstrip('_')}: {words[0]} {shown(expected.get(name))}, "
        f"{words[1]} {shown(found.get(name))}"
        for name in {**expected, **found}
        if name not in but and not _is_alike(expected.get(name), found.get(name))
    ]


def _is_alike(one: Any, other: Any) -> bool:
    has_no_rule = getattr(type(one), "__eq__", None) is getattr(object, "__eq__", None)
    if type(one) is type(other) and has_no_rule:
        # Objects that are equal to themselves alone.
        return bool(getattr(one, "__dict__", None) == getattr(other, "__dict__", None))
    return bool(one == other)
