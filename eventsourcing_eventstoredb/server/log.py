"""
The log: an append-only sequence of records, stored in SQLite.

Threads and invariants:

- One thread writes at a time: `Log.transaction` holds the write lock from its first
  look at the log until the commit, so what it decides on cannot change beneath it.
- A transaction is all or nothing. Listeners hear of its records after the commit, so
  whatever they read is durable.
- Positions only grow. `Log.end` is the position that the next record will get.
- Readers take short turns on a lock; on disk they have a connection of their own and
  do not wait for the writer's disk.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from eventsourcing_eventstoredb.server.database import Database
from eventsourcing_eventstoredb.server.errors import StorageError
from eventsourcing_eventstoredb.server.notifications import Notifier
from eventsourcing_eventstoredb.server.records import (
    NewEvent,
    Record,
    StreamState,
    record_length,
)

logger = logging.getLogger(__name__)

# The real log begins with records that are no events; 0 must stay free to mean
# "before everything".
FIRST_POSITION: Final = 1_024
MARKER_LENGTH: Final = 96

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

    def __init__(self, connection: sqlite3.Connection, lock: threading.RLock) -> None:
        self._connection = connection
        self._lock = lock

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let several questions see the same moment. Holds the lock for so long."""
        with self._lock, _storage_errors():
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
        row = self._row("SELECT key, last_number FROM streams WHERE name = ?", name)
        return None if row is None else StreamState._make(row)

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
        with self._lock, _storage_errors():
            row: tuple[Any, ...] | None = self._connection.execute(
                statement, parameters
            ).fetchone()
        return row

    def _page(self, statement: str, parameters: tuple[int, ...]) -> list[Record]:
        page: list[Record] = []
        size = 0
        with self._lock, _storage_errors():
            for row in self._connection.execute(statement, parameters):
                record = Record._make(row)
                page.append(record)
                size += len(record.data) + len(record.custom_metadata)
                if size >= PAGE_BYTES:
                    break
        return page


class Transaction(Queries):
    """
    Writes that become visible together, and reads that already see them.

    Made by `Log.transaction` only.
    """

    def __init__(
        self, connection: sqlite3.Connection, lock: threading.RLock, end: int
    ) -> None:
        super().__init__(connection, lock)
        self.end = end
        self.streams: set[str] = set()
        self.committed: list[Callable[[], None]] = []

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call *callback* once the commit is durable, before anyone else can write."""
        self.committed.append(callback)

    def write(self, stream: str, number: int, events: list[NewEvent]) -> int:
        """
        Write events to a stream, the first one with *number*.

        Returns:
            The position of the last one.
        """
        key = self._stream_key(stream, number + len(events) - 1)
        rows = []
        position = self.end
        for event in events:
            position = self.end
            rows.append(
                (
                    position,
                    key,
                    number,
                    event.id,
                    event.type,
                    event.is_json,
                    time.time_ns() // 100,
                    event.data,
                    event.custom_metadata,
                )
            )
            number += 1
            self.end += record_length(
                stream, event.type, event.data, event.custom_metadata
            )
        self._connection.executemany(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
        )
        self.streams.add(stream)
        return position

    def write_marker(self) -> int:
        """Write a record that is no event, and return its position."""
        position = self.end
        self._connection.execute(
            "INSERT INTO records (position) VALUES (?)", (position,)
        )
        self.end += MARKER_LENGTH
        return position

    def _stream_key(self, stream: str, last_number: int) -> int:
        row = self._connection.execute(
            "INSERT INTO streams (name, last_number) VALUES (?, ?) ON CONFLICT (name)"
            " DO UPDATE SET last_number = excluded.last_number RETURNING key",
            (stream, last_number),
        ).fetchone()
        return int(row[0])


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        logger.error("The storage failed: %s", error)
        raise StorageError(str(error)) from error


class Log(Queries):
    """
    The log of one server.

    Attributes:
        end: The position of the next record.
        notifier: Tells listeners which streams were written to, after each commit.

    Args:
        path: The database file, made when missing; None keeps the log in memory.

    Raises:
        DataFileError: The file cannot be used.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._database = Database(path)
        self._write_lock = threading.RLock()
        in_memory = self._database.reader is self._database.writer
        super().__init__(
            self._database.reader,
            self._write_lock if in_memory else threading.RLock(),
        )
        self.notifier = Notifier()
        self.end = self._find_end()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """
        Hold the only right to write; commit at the end, roll back on an exception.

        Blocks until earlier transactions are through, and at the end until the disk
        has the commit.
        """
        with self._write_lock, _storage_errors():
            connection = self._database.writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                transaction = Transaction(connection, self._write_lock, self.end)
                yield transaction
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self.end = transaction.end
            for callback in transaction.committed:
                callback()
        if transaction.streams:
            self.notifier.notify(transaction.streams)

    def close(self) -> None:
        """Close the database. Nothing may use the log afterwards."""
        with self._write_lock, self._lock:
            self._database.close()

    def _find_end(self) -> int:
        row = self._row(
            "SELECT r.position, s.name, r.type, length(r.data),"
            " length(r.custom_metadata) FROM records AS r"
            " LEFT JOIN streams AS s ON s.key = r.stream"
            " ORDER BY r.position DESC LIMIT 1"
        )
        if row is None:
            return FIRST_POSITION
        position, stream, event_type, data_length, metadata_length = row
        if stream is None:
            return int(position) + MARKER_LENGTH
        parts = record_length(stream, event_type, b"", b"")
        return int(position) + parts + int(data_length) + int(metadata_length)
