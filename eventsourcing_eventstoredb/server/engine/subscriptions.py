"""
Catch-up subscriptions: what is in the log already, then what is new.

A subscription is an iterator that some thread drives. It pulls: it reads the log when
the one before it has been taken, and waits only when it has read everything. So a
subscriber that does not read costs one page of memory and holds up no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from eventsourcing_eventstoredb.server.engine.filters import Filter
from eventsourcing_eventstoredb.server.engine.reads import (
    PAGE_EVENTS,
    Reader,
    is_hidden,
)
from eventsourcing_eventstoredb.server.errors import HandlerError, StreamDeletedError
from eventsourcing_eventstoredb.server.storage.notifications import Listener
from eventsourcing_eventstoredb.server.storage.records import (
    MAX_NUMBER,
    Record,
    record_length,
)

# A page of the real server's catch-up ends after so many matches.
_PAGE_MATCHES = 32


class Edge(Enum):
    """Where to begin, other than at a number or a position."""

    START = "start"
    END = "end"


class Sign(Enum):
    """What a subscription says besides events and checkpoints."""

    CONFIRMED = "confirmed"
    CAUGHT_UP = "caught up"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a filtered subscription has looked."""

    commit_position: int
    prepare_position: int


Item = Record | Checkpoint | Sign


@dataclass(frozen=True, slots=True)
class CheckpointInterval:
    """
    How often a filtered subscription says how far it has looked.

    Attributes:
        window: Events considered in one page of the catch-up.
        events: Events considered from one checkpoint to the next.
    """

    window: int
    events: int


def subscribe_to_stream(
    reader: Reader, listener: Listener, stream: str, after: int | Edge
) -> Iterator[list[Item]]:
    """
    Hand out a stream's events, for ever, in pages.

    Args:
        listener: Listens to the stream and to its metadata stream. When it is closed
            the iteration ends.
        after: Number of the last event that is *not* wanted, or an edge.

    Raises:
        StreamDeletedError: The stream has a tombstone. Before the confirmation when
            it had one already; after the tombstone itself when it gets one.
    """
    if after is Edge.END:
        state = reader.log.stream(stream)
        following = 0 if state is None else state.last_number + 1
        yield [Sign.CONFIRMED, Sign.CAUGHT_UP]
    else:
        following = 0 if isinstance(after, Edge) else after + 1
        view = reader.view(stream)
        yield [Sign.CONFIRMED]
        while not view.is_found:
            listener.clear()
            view = reader.view(stream)
            if not view.is_found and not listener.wait():
                return
        while page := view.forwards(reader.log, following, PAGE_EVENTS):
            yield list(page)
            following = page[-1].number + 1
            view = reader.view(stream)
        following = max(following, view.last_number + 1)
        yield [Sign.CAUGHT_UP]
    yield from _follow_stream(reader, listener, stream, following)


def _follow_stream(
    reader: Reader, listener: Listener, stream: str, following: int
) -> Iterator[list[Item]]:
    while True:
        listener.clear()
        state = reader.log.stream(stream)
        page: list[Record] = []
        # Nothing follows a tombstone, nor the largest number that a client can name.
        if state is not None and following <= MAX_NUMBER:
            page = reader.log.stream_forwards(state, following, MAX_NUMBER, PAGE_EVENTS)
        if page:
            yield list(page)
            if page[-1].number == MAX_NUMBER:
                raise StreamDeletedError(stream)
            following = page[-1].number + 1
        elif not listener.wait():
            return


class AllSubscription:
    """
    Hands out the events of the whole log, for ever, in pages.

    Args:
        reader: Reads the log.
        listener: Listens to all streams. When it is closed the iteration ends.
        after: Position after which to begin, or an edge.
        event_filter: None for all events.
        interval: How often to send checkpoints; counts only with a filter.
    """

    def __init__(
        self,
        reader: Reader,
        listener: Listener,
        after: int | Edge,
        event_filter: Filter | None,
        interval: CheckpointInterval,
    ) -> None:
        self._reader = reader
        self._log = reader.log
        self._listener = listener
        self._after = after
        self._filter = event_filter
        self._interval = interval
        # Events considered since the last checkpoint.
        self._considered = 0

    def __iter__(self) -> Iterator[list[Item]]:
        """
        Iterate over pages of events, checkpoints and signs.

        Raises:
            HandlerError: The position is inside a record.
        """
        position = self._first_position()
        yield [Sign.CONFIRMED]
        catch_up = self._scan if self._filter is None else self._scan_windows
        for page, following in catch_up(position):
            position = following
            yield page
        yield [Sign.CAUGHT_UP]
        yield from self._follow(position)

    def _first_position(self) -> int:
        if self._after in (Edge.START, 0):
            return 0
        # From beyond the end: whatever is new, even below the position asked for.
        if isinstance(self._after, Edge) or self._after > self._log.last_position():
            return self._log.end
        if not self._reader.is_readable(self._after):
            msg = "The position is inside a record."
            raise HandlerError(msg)
        return self._after + 1

    def _scan(self, position: int) -> Iterator[tuple[list[Item], int]]:
        while page := self._log.forwards(position, PAGE_EVENTS):
            position = page[-1].position + 1
            yield [one for one in page if not is_hidden(one.stream)], position

    def _scan_windows(self, position: int) -> Iterator[tuple[list[Item], int]]:
        """
        Catch up in windows as the real server does: they decide where checkpoints are.
        """
        window = _Window(self._interval.window, position)
        while page := self._log.forwards(position, PAGE_EVENTS):
            if window.is_new:
                window.start = window.start and page[0].position
            items: list[Item] = []
            for record in page:
                matches = self._matches(record)
                if matches:
                    items.append(record)
                window.add(record, matches)
                if window.is_full:
                    items.extend(self._end_window(window))
                    window = _Window(self._interval.window, _end_of(record))
            position = page[-1].position + 1
            yield items, position
        self._considered += window.considered

    def _end_window(self, window: _Window) -> list[Item]:
        self._considered += window.considered
        if self._considered < self._interval.events:
            return []
        self._considered %= self._interval.events
        return [window.checkpoint()]

    def _follow(self, position: int) -> Iterator[list[Item]]:
        while True:
            self._listener.clear()
            page = self._log.forwards(position, PAGE_EVENTS)
            if page:
                position = page[-1].position + 1
                items = [item for record in page for item in self._live(record)]
                if items:
                    yield items
            elif not self._listener.wait():
                return

    def _live(self, record: Record) -> Iterator[Item]:
        if self._matches(record):
            yield record
        if self._filter is None:
            return
        self._considered += 1
        if self._considered >= self._interval.events:
            self._considered = 0
            yield Checkpoint(record.position, record.position)

    def _matches(self, record: Record) -> bool:
        if is_hidden(record.stream):
            return False
        return self._filter is None or self._filter.matches(record)


class _Window:
    """One page of a filtered catch-up."""

    def __init__(self, size: int, start: int) -> None:
        self.start = start
        self.considered = 0
        self._size = size
        self._matches = 0
        self._last_match: int | None = None

    @property
    def is_new(self) -> bool:
        return self.considered == 0

    @property
    def is_full(self) -> bool:
        return self.considered >= self._size or self._matches >= _PAGE_MATCHES

    def add(self, record: Record, matches: bool) -> None:
        self.considered += 1
        if matches:
            self._matches += 1
            self._last_match = record.position

    def checkpoint(self) -> Checkpoint:
        if self._last_match is not None:
            return Checkpoint(self._last_match, self._last_match)
        return Checkpoint(self.start, 0)


def _end_of(record: Record) -> int:
    return record.position + record_length(
        record.stream, record.type, record.data, record.custom_metadata
    )


DEFAULT_WINDOW: Final = 32
