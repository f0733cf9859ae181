"""
The SQLite database under the log: opening, its format, and what can go wrong.

The format version is in the file's ``user_version``, an application id in its
header, so a file of another program or of a newer format is recognised and left as
it is. A lock file next to the database keeps a second server off it; the system drops
the lock when its process ends, however that happens.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

APPLICATION_ID = 0x45534442  # "ESDB"
FORMAT_VERSION = 1

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE streams (
    key INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_number INTEGER NOT NULL
);
-- A record without a stream is a marker: it takes a position and is no event.
CREATE TABLE records (
    position INTEGER PRIMARY KEY,
    stream INTEGER REFERENCES streams (key),
    number INTEGER,
    id BLOB,
    type TEXT,
    is_json INTEGER,
    created INTEGER,
    data BLOB,
    custom_metadata BLOB
);
CREATE UNIQUE INDEX records_by_stream ON records (stream, number);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
COMMIT;
"""


class DataFileError(Exception):
    """The data file cannot be used; the message says why and what to do."""


class Database:
    """
    The connections to one database, in memory or in a file.

    Attributes:
        writer: The connection that writes. Foreign threads may use it under a lock.
        reader: A second connection, so that reading does not wait for the disk; in
            memory it is the same object as `writer`.

    Raises:
        DataFileError: The file cannot be opened, is no database of this kind, is of
            a newer format, or is in use by another server.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock: BaseFileLock | None = None
        if path is None:
            self.writer = self.reader = _connect(":memory:")
            self._create()
            return
        self._lock = _lock(path)
        try:
            self.writer = self._open(path)
        except BaseException:
            self._unlock()
            raise
        self.reader = _connect(str(path))
        self.reader.execute("PRAGMA query_only = ON")

    def close(self) -> None:
        """Close the connections and release the file."""
        self.reader.close()
        self.writer.close()
        self._unlock()

    def _open(self, path: Path) -> sqlite3.Connection:
        try:
            self.writer = _connect(str(path))
            is_new = self._check_format(path)
            # WAL lets readers continue while the writer waits for the disk. FULL makes
            # every commit reach the disk: what was acknowledged survives power loss.
            self.writer.execute("PRAGMA journal_mode = WAL")
            self.writer.execute("PRAGMA synchronous = FULL")
            if is_new:
                self._create()
            else:
                # Proves now, not at the first append, that the file can be written.
                self.writer.executescript("BEGIN IMMEDIATE; ROLLBACK;")
        except sqlite3.Error as error:
            self.writer.close()
            msg = f"Cannot use the data file {path}: {error}."
            raise DataFileError(msg) from error
        except DataFileError:
            self.writer.close()
            raise
        return self.writer

    def _check_format(self, path: Path) -> bool:
        try:
            application = self.writer.execute("PRAGMA application_id").fetchone()[0]
            version = self.writer.execute("PRAGMA user_version").fetchone()[0]
            tables = self.writer.execute("SELECT count(*) FROM sqlite_master")
            is_empty = tables.fetchone()[0] == 0
        except sqlite3.DatabaseError as error:
            msg = (
                f"Cannot use the data file {path}: {error}. Name a file that this"
                " server made, or one that does not exist yet."
            )
            raise DataFileError(msg) from error
        if is_empty and application == 0 and version == 0:
            return True
        if application != APPLICATION_ID:
            msg = (
                f"The file {path} is the database of another program. Name a file"
                " that this server made, or one that does not exist yet."
            )
            raise DataFileError(msg)
        if version != FORMAT_VERSION:
            msg = (
                f"The data file {path} has format version {version}, this server"
                f" reads version {FORMAT_VERSION}. Use the server that wrote it."
            )
            raise DataFileError(msg)
        return False

    def _create(self) -> None:
        self.writer.executescript(_SCHEMA)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _connect(database: str) -> sqlite3.Connection:
    # Transactions are begun by hand, and threads are kept apart by the log's locks.
    connection = sqlite3.connect(
        database, isolation_level=None, check_same_thread=False, timeout=5
    )
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _lock(path: Path) -> BaseFileLock:
    """Take the lock file next to the data file, or say who stands in the way."""
    # A file that only lies there must not lock: it would outlive a killed server.
    lock = FileLock(f"{path}.lock", thread_local=False, fallback_to_soft=False)
    try:
        # Made by filelock otherwise, where a name is only mistyped.
        path.parent.stat()
        lock.acquire(blocking=False)
    except Timeout as error:
        msg = (
            f"The data file {path} is in use by another server. Stop that one, or"
            " name another file."
        )
        raise DataFileError(msg) from error
    except OSError as error:
        msg = f"Cannot use the data file {path}: {error.strerror or error}."
        raise DataFileError(msg) from error
    with suppress(OSError):
        Path(lock.lock_file).write_text(f"{os.getpid()}\n")
    return lock
