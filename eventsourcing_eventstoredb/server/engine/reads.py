"""
Reading streams and the whole log, page by page.

A stream shows what its metadata leave of it. The log shows everything except the
server's own bookkeeping.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventsourcing_eventstoredb.server.engine.filters import Filter
from eventsourcing_eventstoredb.server.engine.stream_view import StreamView
from eventsourcing_eventstoredb.server.errors import ReadFailedError
from eventsourcing_eventstoredb.server.storage.log import Log
from eventsourcing_eventstoredb.server.storage.records import Record

PAGE_EVENTS: Final = 500

# The real server reads a stream in pages of this many numbers, which shows in what it
# tells about a read that begins far before the first event that is left.
_FIRST_PAGE_NUMBERS = 32

_HIDDEN_PREFIX = "$persistentsubscription-$all::"
_HIDDEN_SUFFIXES = ("-checkpoint", "-parked")


class Reader:
    """Reads a log on behalf of clients. All methods may be called from any thread."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def view(self, stream: str) -> StreamView:
        """Look at a stream; see `StreamView.of`."""
        return StreamView.of(self.log, stream)

    def stream_forwards(
        self, view: StreamView, first: int, limit: int
    ) -> Iterator[list[Record]]:
        """Read a stream upwards from number *first*, in pages."""
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
        """Read a stream downwards from number *last*, in pages."""
        while limit > 0 and last >= 0:
            page = view.backwards(self.log, last, min(limit, PAGE_EVENTS))
            if not page:
                return
            yield page
            limit -= len(page)
            last = page[-1].number - 1

    def first_numbers_to_tell(
        self, view: StreamView, first: int, limit: int
    ) -> list[int]:
        """
        Tell where a stream's events continue when a read from *first* begins in a gap.

        Returns:
            Nothing when the read begins with events, or exactly where they continue.
            Two numbers when it is first sent on to where the metadata let events show,
            which may lie beyond the last one.
        """
        numbers = min(limit, _FIRST_PAGE_NUMBERS)
        told = []
        shown = view.metadata.first_number(view.last_number)
        if first + numbers <= shown:
            told.append(shown)
            first = shown
        page = view.forwards(self.log, first, 1)
        following = page[0].number if page else view.last_number + 1
        has_events = bool(page) and following < first + numbers
        if not has_events and following != first:
            told.append(following)
        return told

    def all_forwards(
        self, position: int, limit: int, event_filter: Filter | None
    ) -> Iterator[list[Record]]:
        """
        Read the log upwards, *position* included, in pages.

        Args:
            limit: The most events to return, counting only those that match.
        """
        if not self.is_readable(position):
            raise ReadFailedError(read_all_result(event_filter))
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
        """Read the log downwards, *position* excluded, in pages."""
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

    def is_readable(self, position: int) -> bool:
        """Tell whether *position* is not inside a record, up to the last event."""
        return (
            position == 0
            or self.log.is_record(position)
            or position > self.log.last_position()
        )


def is_hidden(stream: str) -> bool:
    """Tell whether the log never shows events of *stream*."""
    return stream.startswith(_HIDDEN_PREFIX) and stream.endswith(_HIDDEN_SUFFIXES)


def select(page: list[Record], event_filter: Filter | None) -> list[Record]:
    """Keep the events that show in the log and that the filter lets through."""
    if event_filter is None:
        return [record for record in page if not is_hidden(record.stream)]
    return [
        record
        for record in page
        if event_filter.matches(record) and not is_hidden(record.stream)
    ]


def read_all_result(event_filter: Filter | None) -> str:
    """Name the result that an error of reading the log speaks of."""
    return "ReadAllResult" if event_filter is None else "FilteredReadAllResult"
