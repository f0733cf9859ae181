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

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from eventsourcing_eventstoredb.server.storage.database import Database
from eventsourcing_eventstoredb.server.storage.heads import Heads
from eventsourcing_eventstoredb.server.storage.names import Names
from eventsourcing_eventstoredb.server.storage.notifications import Notifier
from eventsourcing_eventstoredb.server.storage.queries import Queries, storage_errors
from eventsourcing_eventstoredb.server.storage.records import (
    NewEvent,
    StreamState,
    record_length,
)

# The real log begins with records that are no events; 0 must stay free to mean
# "before everything".
FIRST_POSITION: Final = 1_024
MARKER_LENGTH: Final = 96


class Transaction(Queries):
    """
    Writes that become visible together, and reads that already see them.

    Made by `Log.transaction` only.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: threading.RLock,
        names: Names,
        end: int,
        heads: Heads,
    ) -> None:
        super().__init__(connection, lock, names)
        self.end = end
        self._heads = heads
        self.streams: set[str] = set()
        self.committed: list[Callable[[], None]] = []

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call *callback* once the commit is durable, before anyone else can write."""
        self.committed.append(callback)

    def stream(self, name: str) -> StreamState | None:
        """Tell what is known of a stream, or None when it was never written to."""
        return self._heads.find(name, super().stream)

    def begin(self, stream: str, events: list[NewEvent]) -> int | None:
        """
        Write the first events of a stream.

        Returns:
            The position of the last one; None if the stream was written to before, and
            nothing is written now.
        """
        if self._names.may_exist(stream) and self.stream(stream) is not None:
            return None
        key = self._insert(stream, len(events) - 1)
        self._heads.note(stream, StreamState(key, len(events) - 1))
        return self._write(stream, key, 0, events)

    def write(self, stream: str, number: int, events: list[NewEvent]) -> int:
        """
        Write events to a stream, the first one with *number*.

        Returns:
            The position of the last one.
        """
        key = self._stream_key(stream, number + len(events) - 1)
        return self._write(stream, key, number, events)

    def write_marker(self) -> int:
        """Write a record that is no event, and return its position."""
        position = self.end
        self._connection.execute(
            "INSERT INTO records (position) VALUES (?)", (position,)
        )
        self.end += MARKER_LENGTH
        return position

    def _write(self, stream: str, key: int, number: int, events: list[NewEvent]) -> int:
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

    def _stream_key(self, stream: str, last_number: int) -> int:
        state = self.stream(stream)
        if state is None:
            key = self._insert(stream, last_number)
        else:
            key = state.key
            self._connection.execute(
                "UPDATE streams SET last_number = ? WHERE key = ?", (last_number, key)
            )
        self._heads.note(stream, StreamState(key, last_number))
        return key

    def _insert(self, stream: str, last_number: int) -> int:
        cursor = self._connection.execute(
            "INSERT INTO streams (name, last_number) VALUES (?, ?)",
            (stream, last_number),
        )
        key = int(cursor.lastrowid or 0)
        self._names.add(stream, key)
        return key


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
            Names(self._database.writer),
        )
        self.notifier = Notifier()
        self.end = self._find_end()
        self._heads = Heads(self.metadata_streams)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """
        Hold the only right to write; commit at the end, roll back on an exception.

        Blocks until earlier transactions are through, and at the end until the disk
        has the commit.
        """
        with self._write_lock, storage_errors:
            connection = self._database.writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                transaction = Transaction(
                    connection, self._write_lock, self._names, self.end, self._heads
                )
                yield transaction
                connection.execute("COMMIT")
            except BaseException:
                self._heads.forget()
                self._names.undo()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self.end = transaction.end
            self._names.keep()
            for callback in transaction.committed:
                callback()
            if self._names.are_many:
                self._index_names()
        if transaction.streams:
            self.notifier.notify(transaction.streams)

    def close(self) -> None:
        """Close the database. Nothing may use the log afterwards."""
        with self._write_lock, self._lock:
            self._database.close()

    def _index_names(self) -> None:
        """Write to the index which streams have the names that were kept in mind."""
        connection = self._database.writer
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._names.write_index()
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if not isinstance(error, sqlite3.Error):
                raise
            # What was committed before is there. Who writes next learns of a full disk.
            self._names.put_off()
            return
        # Without it a reader could look into an index of before for what is forgotten.
        with self._lock:
            self._names.forget_indexed()

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
