"""
Reading streams and the whole log, page by page.

A stream is read through its metadata: deleted, truncated and expired events do not
show. The log shows everything except the server's own bookkeeping.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .errors import ReadFailedError, StreamDeletedError
from .filters import Filter
from .log import Log, Queries
from .metadata import (
    NO_METADATA,
    OF_METADATA_STREAM,
    StreamMetadata,
    is_metadata_stream,
    metadata_stream_of,
    original_stream_of,
    parse_metadata,
)
from .records import LINK_TYPE, MAX_NUMBER, Record, StreamState

PAGE_EVENTS: Final = 500

# The real server reads a stream in pages of this many numbers, which shows in what it
# tells about a read that begins far before the first event that is left.
_FIRST_PAGE_NUMBERS = 32

_HIDDEN_PREFIX = "$persistentsubscription-$all::"
_HIDDEN_SUFFIXES = ("-checkpoint", "-parked")

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
        """
        The event that was read: the link, when there is one.
        """
        record = self.link or self.event
        assert record is not None
        return record


@dataclass(frozen=True, slots=True)
class StreamView:
    """
    What shows of a stream at one moment.

    Attributes:
        state: None when the stream was never written.
        metadata: The limits in force.
    """

    state: StreamState | None
    metadata: StreamMetadata

    @classmethod
    def of(cls, queries: Queries, name: str) -> StreamView:
        """
        Look at a stream.

        Raises:
            StreamDeletedError: It, or the stream whose metadata it holds, has a
                tombstone.
        """
        state = queries.stream(name)
        if state is not None and state.is_tombstoned:
            raise StreamDeletedError(name)
        if is_metadata_stream(name):
            original = queries.stream(original_stream_of(name))
            if original is not None and original.is_tombstoned:
                raise StreamDeletedError(name)
            return cls(state, OF_METADATA_STREAM)
        if state is None:
            return cls(None, NO_METADATA)
        return cls(state, parse_metadata(queries.last_event(metadata_stream_of(name))))

    @staticmethod
    def of_metadata_before(
        queries: Queries, metadata_stream: str, number: int
    ) -> StreamMetadata:
        """
        Read the metadata that were in force up to the metadata event *number*.
        """
        state = queries.stream(metadata_stream)
        if state is None:
            return NO_METADATA
        found = queries.stream_forwards(state, number, number, 1)
        return parse_metadata(found[0]) if found else NO_METADATA

    @property
    def is_found(self) -> bool:
        """
        Whether a reader finds the stream: it was written, and is not deleted.
        """
        return self.state is not None and not self.metadata.is_soft_deleted

    @property
    def last_number(self) -> int:
        return -1 if self.state is None else self.state.last_number

    def event(self, queries: Queries, number: int) -> Record | None:
        """
        Read one event if it shows.
        """
        page = self.forwards(queries, number, 1)
        return page[0] if page and page[0].number == number else None

    def forwards(self, queries: Queries, first: int, limit: int) -> list[Record]:
        """
        Read up to *limit* events from number *first* on; none come only at the end.
        """
        if self.state is None:
            return []
        last = self.state.last_number
        first = max(first, self.metadata.first_number(last))
        oldest = self.metadata.oldest(time.time_ns() // 100)
        while first <= last:
            page = queries.stream_forwards(self.state, first, last, limit)
            shown = [record for record in page if record.created >= oldest]
            if shown or not page:
                return shown
            first = page[-1].number + 1
        return []

    def backwards(self, queries: Queries, last: int, limit: int) -> list[Record]:
        """
        Read up to *limit* events from number *last* downwards.
        """
        if self.state is None:
            return []
        first = self.metadata.first_number(self.state.last_number)
        oldest = self.metadata.oldest(time.time_ns() // 100)
        page = queries.stream_backwards(self.state, first, last, limit)
        # Events are written in the order of time: what follows is older still.
        return [record for record in page if record.created >= oldest]


class Reader:
    """
    Reads a log on behalf of clients. All methods may be called from any thread.
    """

    def __init__(self, log: Log) -> None:
        self.log = log

    def view(self, stream: str) -> StreamView:
        """
        Look at a stream; see `StreamView.of`.
        """
        return StreamView.of(self.log, stream)

    def stream_forwards(
        self, view: StreamView, first: int, limit: int
    ) -> Iterator[list[Record]]:
        """
        Read a stream upwards from number *first*, in pages.
        """
        while limit > 0:
            page = view.forwards(self.log, first, min(limit, PAGE_EVENTS))
            if not page:
                return
            yield page
            limit -= len(page)
            first = page[-1].number + 1

    def stream_backwards(
        self, view: StreamView, last: int, limit: int
    ) -> Iterator[list[Record]]:
        """
        Read a stream downwards from number *last*, in pages.
        """
        while limit > 0 and last >= 0:
            page = view.backwards(self.log, last, min(limit, PAGE_EVENTS))
            if not page:
                return
            yield page
            limit -= len(page)
            last = page[-1].number - 1

    def first_number_to_tell(
        self, view: StreamView, first: int, limit: int
    ) -> int | None:
        """
        Tell where a stream's events go on when a read from *first* begins in a gap.

        Returns:
            None when the read begins with events, or exactly where they go on.
        """
        page = view.forwards(self.log, first, 1)
        following = page[0].number if page else view.last_number + 1
        if page and following < first + min(limit, _FIRST_PAGE_NUMBERS):
            return None
        return None if following == first else following

    def all_forwards(
        self, position: int, limit: int, event_filter: Filter | None
    ) -> Iterator[list[Record]]:
        """
        Read the log upwards, *position* included, in pages.

        Args:
            limit: The most events to return, counting only those that match.
        """
        self.check_position(position, event_filter)
        while limit > 0:
            page = self.log.forwards(position, PAGE_EVENTS)
            if not page:
                return
            position = page[-1].position + 1
            shown = select(page, event_filter)[:limit]
            limit -= len(shown)
            if shown:
                yield shown

    def all_backwards(
        self, position: int, limit: int, event_filter: Filter | None
    ) -> Iterator[list[Record]]:
        """
        Read the log downwards, *position* excluded, in pages.
        """
        if position not in (0, self.log.end) and not self.log.is_record(position):
            raise ReadFailedError(read_all_result(event_filter))
        while limit > 0:
            # The client may want one event only: reading a whole page is waste.
            page = self.log.backwards(position, min(PAGE_EVENTS, max(limit, 32)))
            if not page:
                return
            position = page[-1].position
            shown = select(page, event_filter)[:limit]
            limit -= len(shown)
            if shown:
                yield shown

    def check_position(self, position: int, event_filter: Filter | None) -> None:
        """
        Check that a record begins at *position*, or that it is beyond the last event.

        Raises:
            ReadFailedError: It is inside a record.
        """
        if position == 0 or self.log.is_record(position):
            return
        if position <= self.log.last_position():
            raise ReadFailedError(read_all_result(event_filter))

    def resolve(self, record: Record) -> ResolvedEvent:
        """
        Follow a link; any other event stands for itself.
        """
        if record.type != LINK_TYPE:
            return ResolvedEvent(record)
        text, separator, stream = record.data.decode("utf-8", "replace").partition("@")
        number = _parse_number(text)
        if number is None:
            return ResolvedEvent(record)
        if not separator:
            return ResolvedEvent(None, record)
        try:
            view = self.view(stream)
        except StreamDeletedError:
            return ResolvedEvent(None, record)
        if not view.is_found:
            return ResolvedEvent(None, record)
        if number == _LAST_EVENT:
            number = view.last_number
        return ResolvedEvent(view.event(self.log, number), record)


def _parse_number(text: str) -> int | None:
    """
    Read an event number as .NET does: with white space and a sign, if need be.
    """
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if -MAX_NUMBER <= number <= MAX_NUMBER else None


def is_hidden(stream: str) -> bool:
    """
    Tell whether the log never shows events of *stream*.
    """
    return stream.startswith(_HIDDEN_PREFIX) and stream.endswith(_HIDDEN_SUFFIXES)


def select(page: list[Record], event_filter: Filter | None) -> list[Record]:
    """
    Keep the events that show in the log and that the filter lets through.
    """
    if event_filter is None:
        return [record for record in page if not is_hidden(record.stream)]
    return [
        record
        for record in page
        if event_filter.matches(record) and not is_hidden(record.stream)
    ]


def read_all_result(event_filter: Filter | None) -> str:
    """
    Name the result that an error of reading the log speaks of.
    """
    return "ReadAllResult" if event_filter is None else "FilteredReadAllResult"
