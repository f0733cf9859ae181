"""Where a group gets its events from."""

from __future__ import annotations

from eventsourcing_eventstoredb.server.engine.links import ResolvedEvent, resolve
from eventsourcing_eventstoredb.server.engine.reads import PAGE_EVENTS, Reader, select
from eventsourcing_eventstoredb.server.errors import StreamDeletedError
from eventsourcing_eventstoredb.server.persistent.settings import GroupSettings
from eventsourcing_eventstoredb.server.storage.records import Record


class Source:
    """
    Reads a stream, or the whole log, once from some place on.

    Not to be used by several threads at once.

    Args:
        reader: Reads the log.
        settings: Say what to read.
        begin: The first number or position wanted.
    """

    def __init__(self, reader: Reader, settings: GroupSettings, begin: int) -> None:
        self._reader = reader
        self._settings = settings
        self._filter = None if settings.filter is None else settings.filter.make()
        self._next = begin

    @property
    def is_exhausted(self) -> bool:
        """Whether everything there is has been read."""
        if self._settings.reads_all:
            return self._next > self._reader.log.last_position()
        stream = self._reader.log.stream(self._settings.source)
        return stream is None or self._next > stream.last_number

    def key(self, record: Record) -> int:
        """Tell by what the source orders an event: its number, or its position."""
        return record.position if self._settings.reads_all else record.number

    def read(self, limit: int) -> list[Record]:
        """Read up to *limit* events; none come only when there are no more for now."""
        limit = min(limit, PAGE_EVENTS)
        return self._read_all(limit) if self._settings.reads_all else self._read(limit)

    def resolve(self, record: Record) -> ResolvedEvent:
        """Follow a link if the group wants that."""
        if self._settings.resolve_links:
            return resolve(self._reader.log, record)
        return ResolvedEvent(record)

    def _read_all(self, limit: int) -> list[Record]:
        while page := self._reader.log.forwards(self._next, limit):
            self._next = page[-1].position + 1
            shown = select(page, self._filter)
            if shown:
                return shown
        return []

    def _read(self, limit: int) -> list[Record]:
        try:
            view = self._reader.view(self._settings.source)
        except StreamDeletedError:
            return []
        if not view.is_found:
            return []
        page = view.forwards(self._reader.log, self._next, limit)
        if page:
            self._next = page[-1].number + 1
        return page
