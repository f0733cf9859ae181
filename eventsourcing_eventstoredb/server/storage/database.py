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
FORMAT_VERSION = 2

_HEADER = b"SQLite format 3\0"
_HEADER_BYTES = 100

# Apart from the streams, since names come to it late and many at once.
_INDEX = """
CREATE TABLE stream_names (
    name TEXT PRIMARY KEY,
    stream INTEGER NOT NULL
) WITHOUT ROWID;
-- The last stream whose name is there; those with greater keys are not.
CREATE TABLE indexed (last_stream INTEGER NOT NULL);
INSERT INTO indexed VALUES (0);
"""

# In the first format the names were unique by an index of SQLite's own.
_FROM_FIRST_FORMAT = """
INSERT INTO stream_names SELECT name, key FROM streams ORDER BY name;
UPDATE indexed SET last_stream = (SELECT coalesce(max(key), 0) FROM streams);
CREATE TABLE new_streams (
    key INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    last_number INTEGER NOT NULL
);
INSERT INTO new_streams SELECT key, name, last_number FROM streams;
DROP TABLE streams;
ALTER TABLE new_streams RENAME TO streams;
"""

_UPGRADE = f"""
BEGIN IMMEDIATE;
{_INDEX}
{_FROM_FIRST_FORMAT}
PRAGMA user_version = {FORMAT_VERSION};
COMMIT;
"""

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE streams (
    key INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    last_number INTEGER NOT NULL
);
{_INDEX}
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
        _check_file(path)
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
            _make_private(path)
            self.writer = _connect(str(path))
            version = self._check_format(path)
            # WAL lets readers continue while the writer waits for the disk. FULL makes
            # every commit reach the disk: what was acknowledged survives power loss.
            self.writer.execute("PRAGMA journal_mode = WAL")
            self.writer.execute("PRAGMA synchronous = FULL")
            if not version:
                self._create()
            elif version < FORMAT_VERSION:
                self.writer.executescript(_UPGRADE)
            else:
                # Proves now, not at the first append, that the file can be written.
                self.writer.executescript("BEGIN IMMEDIATE; ROLLBACK;")
        except OSError as error:
            msg = f"Cannot use the data file {path}: {error.strerror or error}."
            raise DataFileError(msg) from error
        except sqlite3.Error as error:
            self.writer.close()
            msg = f"Cannot use the data file {path}: {error}."
            raise DataFileError(msg) from error
        except DataFileError:
            self.writer.close()
            raise
        return self.writer

    def _check_format(self, path: Path) -> int:
        """Return the version of the file's format, 0 if it is new."""
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
            return 0
        if application != APPLICATION_ID:
            msg = (
                f"The file {path} is the database of another program. Name a file"
                " that this server made, or one that does not exist yet."
            )
            raise DataFileError(msg)
        if not 1 <= version <= FORMAT_VERSION:
            msg = (
                f"The data file {path} has format version {version}, this server"
                f" reads versions up to {FORMAT_VERSION}. Use the server that wrote it."
            )
            raise DataFileError(msg)
        return int(version)

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
    lock = FileLock(
        f"{path}.lock", mode=0o600, thread_local=False, fallback_to_soft=False
    )
    if Path(lock.lock_file).is_symlink():
        msg = f"Cannot use the data file {path}: {lock.lock_file} is a link. Remove it."
        raise DataFileError(msg)
    try:
        # Made by filelock otherwise, where a name is only mistyped.
        path.parent.stat()
        lock.acquire(blocking=False)
    except Timeout as error:
        if not Path(lock.lock_file).exists():
            # It is taken for one that another process has just removed.
            msg = f"Cannot use the data file {path}: {lock.lock_file} cannot be made."
            raise DataFileError(msg) from error
        msg = (
            f"The data file {path} is in use by another server{_process(lock)}. Stop"
            " that one, or name another file."
        )
        raise DataFileError(msg) from error
    except OSError as error:
        msg = f"Cannot use the data file {path}: {error.strerror or error}."
        raise DataFileError(msg) from error
    with suppress(OSError):
        descriptor = os.open(lock.lock_file, os.O_WRONLY | os.O_TRUNC | _NO_LINKS)
        with open(descriptor, "w") as file:
            file.write(f"{os.getpid()}\n")
    return lock


def _process(lock: BaseFileLock) -> str:
    """Return which process the lock file names, if it can be read."""
    with suppress(OSError):
        pid = Path(lock.lock_file).read_text(errors="replace")[:20].strip()
        return f", process {pid}" if pid.isdigit() else ""
    return ""


# Windows has no such flag.
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)


def _check_file(path: Path) -> None:
    """Refuse what cannot be a data file, before anything is made next to it."""
    if str(path) == ":memory:":
        msg = "The data file :memory: is no file: name none to keep events in memory."
        raise DataFileError(msg)
    try:
        if path.is_dir():
            msg = f"Cannot use the data file {path}: it is a folder. Name a file in it."
            raise DataFileError(msg)
        if not path.exists():
            return
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        msg = f"Cannot use the data file {path}: {error.strerror or error}."
        raise DataFileError(msg) from error
    if header and not header.startswith(_HEADER):
        msg = (
            f"Cannot use the data file {path}: file is not a database. Name a file that"
            " this server made, or one that does not exist yet."
        )
        raise DataFileError(msg)
    # 0 while the changes are in the file's log, which is looked at later.
    application = int.from_bytes(header[68:72], "big")
    if application not in (0, APPLICATION_ID):
        msg = (
            f"The file {path} is the database of another program. Name a file"
            " that this server made, or one that does not exist yet."
        )
        raise DataFileError(msg)


def _make_private(path: Path) -> None:
    # SQLite gives its further files the mode of this one.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
