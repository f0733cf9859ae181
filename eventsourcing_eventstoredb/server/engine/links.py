"""Links: events that stand for an event of another stream."""

from __future__ import annotations

import re

from eventsourcing_eventstoredb.server.engine.stream_view import StreamView
from eventsourcing_eventstoredb.server.errors import StreamDeletedError
from eventsourcing_eventstoredb.server.storage.queries import Queries
from eventsourcing_eventstoredb.server.storage.records import (
    LINK_TYPE,
    MAX_NUMBER,
    Record,
)

_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,19}\s*")

# The number by which a link can name the last event of a stream.
_LAST_EVENT = -1


class ResolvedEvent:
    """
    An event as it is handed out: itself, or what it links to.

    Attributes:
        event: The event; None for a link whose event cannot be read.
        link: The link event when `event` was found through one.
    """

    __slots__ = ("event", "link")

    def __init__(self, event: Record | None, link: Record | None = None) -> None:
        self.event = event
        self.link = link

    @property
    def original(self) -> Record:
        """The event that was read: the link, when there is one."""
        record = self.link or self.event
        assert record is not None
        return record


def resolve(
    queries: Queries, record: Record, *, is_live: bool = False
) -> ResolvedEvent:
    """
    Follow a link; any other event stands for itself.

    Args:
        is_live: Whether a subscription that has caught up hands the event out: then a
            link that names no number is one whose event cannot be read. Elsewhere it
            is an event like any other.
    """
    if record.type != LINK_TYPE:
        return ResolvedEvent(record)
    text, separator, stream = record.data.decode("utf-8", "replace").partition("@")
    number = _parse_number(text)
    if number is None:
        return ResolvedEvent(None, record) if is_live else ResolvedEvent(record)
    if not separator:
        return ResolvedEvent(None, record)
    try:
        view = StreamView.of(queries, stream)
    except StreamDeletedError:
        return ResolvedEvent(None, record)
    if not view.is_found:
        return ResolvedEvent(None, record)
    if number == _LAST_EVENT:
        number = view.last_number
    return ResolvedEvent(view.event(queries, number), record)


def _parse_number(text: str) -> int | None:
    """Read an event number as .NET does: with white space and a sign, if need be."""
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if -MAX_NUMBER <= number <= MAX_NUMBER else None
