"""What can be asked of the log, which lies in SQLite."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

from eventsourcing_eventstoredb.server.errors import StorageError
from eventsourcing_eventstoredb.server.storage.names import Names
from eventsourcing_eventstoredb.server.storage.records import Record, StreamState

logger = logging.getLogger(__name__)

# A page never holds more than this, however large its events are.
PAGE_BYTES: Final = 2 * 1024 * 1024

_COLUMNS = (
    "r.position, s.name, r.number, r.id, r.type, r.is_json, r.created, r.data,"
    " r.custom_metadata"
)
_FROM = "FROM records AS r CROSS JOIN streams AS s ON s.key = r.stream"
_FORWARDS = (
    f"SELECT {_COLUMNS} {_FROM} WHERE r.position >= ? ORDER BY r.position LIMIT ?"
)
_BACKWARDS = (
    f"SELECT {_COLUMNS} {_FROM} WHERE r.position < ? ORDER BY r.position DESC LIMIT ?"
)
_BY_NAME = (
    "SELECT s.key, s.last_number FROM stream_names AS n CROSS JOIN streams AS s"
    " ON s.key = n.stream WHERE n.name = ?"
)
# The key may be that of a stream that was not committed, or is not any more.
_BY_KEY = "SELECT key, last_number FROM streams WHERE name = ? AND key = ?"
# The names from the prefix on, and before what follows it.
_METADATA_STREAMS = (
    "SELECT name FROM stream_names WHERE name >= '$$' AND name < '$%' UNION ALL"
    " SELECT name FROM streams WHERE key > (SELECT last_stream FROM indexed)"
    " AND name >= '$$' AND name < '$%' LIMIT ?"
)
_IN_STREAM = (
    f"SELECT {_COLUMNS} {_FROM} WHERE r.stream = ? AND r.number BETWEEN ? AND ?"
)
_STREAM_FORWARDS = f"{_IN_STREAM} ORDER BY r.number LIMIT ?"
_STREAM_BACKWARDS = f"{_IN_STREAM} ORDER BY r.number DESC LIMIT ?"


class Queries:
    """
    What can be asked of the log, on one connection, under one lock.

    Every method may be called from any thread and holds the lock for one page.
    """

    def __init__(
        self, connection: sqlite3.Connection, lock: threading.RLock, names: Names
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._names = names

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let several questions see the same moment. Holds the lock for so long."""
        with self._lock, storage_errors:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    def stream(self, name: str) -> StreamState | None:
        """Tell what is known of a stream, or None when it was never written to."""
        # Names go to the index, and out of mind, while no thread has the lock.
        with self._lock:
            key = self._names.key(name)
            if key is None:
                row = self._row(_BY_NAME, name)
            else:
                row = self._row(_BY_KEY, name, key)
        return None if row is None else StreamState._make(row)

    def metadata_streams(self, limit: int) -> list[str]:
        """Name up to *limit* of the streams that hold other streams' metadata."""
        with self._lock, storage_errors:
            found = self._connection.execute(_METADATA_STREAMS, (limit,)).fetchall()
        return [name for (name,) in found]

    def forwards(self, position: int, limit: int) -> list[Record]:
        """
        Read up to *limit* events at or after *position*, in log order.

        Fewer come when their data is large; none come only at the end of the log.
        """
        return self._page(_FORWARDS, (position, limit))

    def backwards(self, position: int, limit: int) -> list[Record]:
        """Read up to *limit* events before *position*, the latest first."""
        return self._page(_BACKWARDS, (position, limit))

    def stream_forwards(
        self, stream: StreamState, first: int, last: int, limit: int
    ) -> list[Record]:
        """
        Read up to *limit* of a stream's events from *first* to *last*, inclusively.
        """
        return self._page(_STREAM_FORWARDS, (stream.key, first, last, limit))

    def stream_backwards(
        self, stream: StreamState, first: int, last: int, limit: int
    ) -> list[Record]:
        """Read up to *limit* of a stream's events from *last* down to *first*."""
        return self._page(_STREAM_BACKWARDS, (stream.key, first, last, limit))

    def last_event(self, name: str) -> Record | None:
        """Read the last event of a stream."""
        stream = self.stream(name)
        if stream is None:
            return None
        found = self.stream_backwards(stream, 0, stream.last_number, 1)
        return found[0] if found else None

    def is_record(self, position: int) -> bool:
        """Tell whether a record, an event or not, begins at *position*."""
        statement = "SELECT 1 FROM records WHERE position = ?"
        return self._row(statement, position) is not None

    def last_position(self) -> int:
        """Tell the position of the last event, 0 when there is none."""
        row = self._row(
            "SELECT position FROM records WHERE stream IS NOT NULL"
            " ORDER BY position DESC LIMIT 1"
        )
        return 0 if row is None else int(row[0])

    def _row(self, statement: str, *parameters: object) -> tuple[Any, ...] | None:
        with self._lock, storage_errors:
            row: tuple[Any, ...] | None = self._connection.execute(
                statement, parameters
            ).fetchone()
        return row

    def _page(self, statement: str, parameters: tuple[int, ...]) -> list[Record]:
        page: list[Record] = []
        size = 0
        with self._lock, storage_errors:
            for row in self._connection.execute(statement, parameters):
                record = Record._make(row)
                page.append(record)
                size += len(record.data) + len(record.custom_metadata)
                if size >= PAGE_BYTES:
                    break
        return page


class StorageErrors:
    """
    Raises what SQLite raises in the block as an error of the storage.

    One for all blocks, since it keeps nothing: each question passes one.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, sqlite3.Error):
            logger.error("The storage failed: %s", error)
            raise StorageError(str(error)) from error


storage_errors = StorageErrors()
