"""
The names of streams, and which stream has which.

In an index by name each new one has its place at random. To write it there at once
changes a page for each new stream, which costs more than its event does. So names are
kept in mind at first, and go to the index thousands at a time, in its order. The
streams' own rows have them, too, so that nothing is lost when the server ends before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Final

# So many names are kept in mind until they go to the index.
MOST_UNINDEXED: Final = 5_000

# As long as the index has no more names than this, most that are not in it are known by
# heart. There is a bit for each hash, and with so many names one in 17 is set.
MOST_KNOWN: Final = 500_000
_BITS: Final = 2**23


class Names:
    """
    Which stream has a name, as long as that is not in the index.

    To be changed by those who write only, and asked by anyone.

    Args:
        connection: The one that writes.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._keys: dict[str, int] = dict(
            connection.execute(
                "SELECT name, key FROM streams"
                " WHERE key > (SELECT last_stream FROM indexed)"
            )
        )
        # Those of a transaction that is under way.
        self._added: list[str] = []
        # Bits are set for what is in the index; None when that is too much.
        self._bits: bytearray | None = bytearray(_BITS // 8)
        self._indexed = 0
        found = connection.execute(
            "SELECT name FROM stream_names LIMIT ?", (MOST_KNOWN + 1,)
        )
        self._note_indexed([name for (name,) in found])
        self._most = MOST_UNINDEXED

    def key(self, name: str) -> int | None:
        """
        Return the key of the stream with a name, None if it is indexed, or free.

        It may not be committed yet, or be another one's when that is undone.
        """
        return self._keys.get(name)

    def may_exist(self, name: str) -> bool:
        """Tell whether a stream may have this name; if not, it is free."""
        if self._bits is None or name in self._keys:
            return True
        place = hash(name) % _BITS
        return bool(self._bits[place >> 3] & 1 << (place & 7))

    def add(self, name: str, key: int) -> None:
        """Note the name of a stream that a transaction begins."""
        self._keys[name] = key
        self._added.append(name)

    def keep(self) -> None:
        """Keep what a transaction has added, which is committed."""
        self._added.clear()

    def undo(self) -> None:
        """Forget what a transaction has added, which is undone."""
        for name in self._added:
            del self._keys[name]
        self._added.clear()

    @property
    def are_many(self) -> bool:
        """Whether names are to go to the index now."""
        return len(self._keys) >= self._most

    def write_index(self) -> None:
        """Write all names to the index, within a transaction of its own."""
        self._connection.executemany(
            "INSERT INTO stream_names (name, stream) VALUES (?, ?)",
            sorted(self._keys.items()),
        )
        self._connection.execute(
            "UPDATE indexed SET last_stream = ?", (max(self._keys.values()),)
        )

    def forget_indexed(self) -> None:
        """Forget names that are in the index now. Older states may not be used."""
        self._note_indexed(self._keys)
        self._keys.clear()
        self._most = MOST_UNINDEXED

    def put_off(self) -> None:
        """Let more names come, since these could not be written."""
        self._most = len(self._keys) + MOST_UNINDEXED

    def _note_indexed(self, names: Collection[str]) -> None:
        self._indexed += len(names)
        if self._indexed > MOST_KNOWN:
            self._bits = None
        if self._bits is not None:
            for name in names:
                place = hash(name) % _BITS
                self._bits[place >> 3] |= 1 << (place & 7)
