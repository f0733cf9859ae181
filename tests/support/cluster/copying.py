"""A node's copy of the store, which may lag."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from eventsourcing_eventstoredb.server.storage.log import Log

# Of the times of events in the store.
TICKS = 10_000_000

_PAGE = 1_000
_ROWS = (
    "SELECT r.*, s.name FROM records AS r LEFT JOIN streams AS s ON s.key = r.stream"
    " WHERE r.position >= ? ORDER BY r.position LIMIT ?"
)


class Copy(Log):
    """
    A log in memory that follows the log of a data file, with the same positions.

    Args:
        path: The data file; another process writes to it.
        behind: How many of its last events are left out until all is wanted.
    """

    def __init__(self, path: Path, behind: int = 0) -> None:
        super().__init__()
        self._source = sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, check_same_thread=False, timeout=30
        )
        self._copying = threading.Lock()
        self._next = 0
        self._stop = self._position_behind(behind) if behind else None

    def catch_up(self, time: float | None = None) -> None:
        """
        Copy what is in the store and older than a time in seconds since 1970.

        Events that were left out at the start stay so, see :meth:`leave_nothing_out`.
        """
        latest = None if time is None else int(time * TICKS)
        with self._copying:
            while self._copy_page(latest):
                pass

    def leave_nothing_out(self) -> None:
        """Copy from now on what was left out at the start."""
        self._stop = None

    def _position_behind(self, behind: int) -> int:
        row = self._source.execute(
            "SELECT position FROM records WHERE stream IS NOT NULL"
            " ORDER BY position DESC LIMIT 1 OFFSET ?",
            (behind - 1,),
        ).fetchone()
        return 0 if row is None else int(row[0])

    def _copy_page(self, latest: int | None) -> bool:
        rows = self._source.execute(_ROWS, (self._next, _PAGE)).fetchall()
        wanted = []
        for row in rows:
            position, created = row[0], row[6]
            if self._stop is not None and position >= self._stop:
                break
            if latest is not None and created is not None and created > latest:
                break
            wanted.append(row)
        if wanted:
            self._write(wanted)
        return len(wanted) == _PAGE

    def _write(self, rows: list[tuple[object, ...]]) -> None:
        with self.transaction() as transaction:
            connection = self._database.writer
            streams = [(row[1], row[9], row[2]) for row in rows if row[9] is not None]
            connection.executemany(
                "INSERT INTO streams VALUES (?, ?, ?) ON CONFLICT (key)"
                " DO UPDATE SET last_number = excluded.last_number",
                streams,
            )
            for name, key in {row[9]: row[1] for row in rows}.items():
                if name is not None and transaction.stream(str(name)) is None:
                    self._names.add(str(name), int(str(key)))
            connection.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [row[:9] for row in rows],
            )
            transaction.end = self._find_end()
            transaction.streams.update(str(name) for _, name, _ in streams)
        self._next = int(str(rows[-1][0])) + 1

    def close(self) -> None:
        """Close the copy, and the data file."""
        super().close()
        self._source.close()
