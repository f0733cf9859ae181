"""What shows of a stream: its metadata hide deleted, truncated and expired events."""

from __future__ import annotations

import time
from dataclasses import dataclass

from eventsourcing_eventstoredb.server.errors import StreamDeletedError
from eventsourcing_eventstoredb.server.storage.metadata import (
    NO_METADATA,
    OF_METADATA_STREAM,
    StreamMetadata,
    is_metadata_stream,
    metadata_stream_of,
    original_stream_of,
    parse_metadata,
)
from eventsourcing_eventstoredb.server.storage.queries import Queries
from eventsourcing_eventstoredb.server.storage.records import Record, StreamState


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
        # One snapshot: the last number and the metadata must be of the same moment.
        with queries.snapshot():
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
            record = queries.last_event(metadata_stream_of(name))
            return cls(state, parse_metadata(record))

    @property
    def is_found(self) -> bool:
        """Whether a reader finds the stream: it was written, and is not deleted."""
        return self.state is not None and not self.metadata.is_soft_deleted

    @property
    def last_number(self) -> int:
        return -1 if self.state is None else self.state.last_number

    def event(self, queries: Queries, number: int) -> Record | None:
        """Read one event if it shows."""
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
        """Read up to *limit* events from number *last* downwards."""
        if self.state is None:
            return []
        first = self.metadata.first_number(self.state.last_number)
        oldest = self.metadata.oldest(time.time_ns() // 100)
        page = queries.stream_backwards(self.state, first, last, limit)
        # Events are written in the order of time: what follows is older still.
        return [record for record in page if record.created >= oldest]
