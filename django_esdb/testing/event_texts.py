"""Events as they stand in the messages of failed tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django_esdb.events.aggregate_events import field_names
from django_esdb.testing.rows import shown


def event_text(event: Any) -> str:
    """Return an event's class and what it says, without its ID, version and time."""
    names = field_names(type(event))
    said = ", ".join(f"{name}={shown(getattr(event, name, None))}" for name in names)
    return f"{type(event).__qualname__}({said})"


def event_lines(
    events: Sequence[Any], before: int, is_wanted: Sequence[bool]
) -> Iterator[str]:
    """
    Yield a line for each event.

    Args:
        events: The events.
        before: How many of them were given.
        is_wanted: Of each, whether it is of a topic of the projection.
    """
    for number, event in enumerate(events):
        place = "given" if number < before else "when"
        note = "" if is_wanted[number] else ", of no topic of the projection"
        yield f"{place} {event_text(event)}{note}"
