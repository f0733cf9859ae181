"""The database of a run: rows and positions of one moment, and what befalls it."""

from __future__ import annotations

import json
import random
import threading
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from tests.support.connections import end_connection, kind_of, other_connections
from tests.support.databases import connected

_BEGIN = {
    # The first query of a transaction decides what it sees.
    "sqlite": "BEGIN",
    "postgres": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "mysql": "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
}


@dataclass(frozen=True)
class Tracked:
    """A projection's row of the tracking table."""

    position: int | None
    event_position: int | None
    owner: str
    token: int
    state: str
    error: str


@dataclass(frozen=True)
class ReadModels:
    """
    All rows of the read models.

    Attributes:
        dogs: Name and tricks of each dog, by ID.
        counts: Dogs and tricks.
        entries: Position and text, in the order in which they were inserted.
        tally: Both of the journal's counts.
    """

    dogs: dict[str, tuple[str, list[str]]]
    counts: tuple[int, int]
    entries: list[tuple[int, str]]
    tally: tuple[int, int]


@dataclass(frozen=True)
class Snapshot:
    """What the database has at one moment."""

    tracked: dict[str, Tracked]
    rows: ReadModels
    put_aside: int


class Database:
    """
    A connection past Django, which may be used by any thread.

    Args:
        url: Of the project's database.

    Attributes:
        kind: ``sqlite``, ``postgres`` or ``mysql``.
    """

    def __init__(self, url: str) -> None:
        self.kind = kind_of(url)
        self.url = url
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._connection = self._stack.enter_context(connected(url))

    def close(self) -> None:
        self._stack.close()

    def snapshot(self) -> Snapshot:
        """Read positions and rows, all of the same moment."""
        with self._lock:
            self._execute(_BEGIN[self.kind])
            try:
                tracked = self._tracked()
                rows = ReadModels(
                    dogs={
                        str(key).replace("-", ""): (name, _parsed(tricks))
                        for key, name, tricks in self._execute(
                            "SELECT id, name, tricks FROM training_school_dog"
                        )
                    },
                    counts=self._only(
                        "SELECT dogs, tricks FROM training_school_schoolcounts"
                    ),
                    entries=self._execute(
                        "SELECT position, text FROM journal_entry ORDER BY id"
                    ),
                    tally=self._only("SELECT added, saved FROM journal_tally"),
                )
                ((put_aside,),) = self._execute(
                    "SELECT count(*) FROM django_esdb_failedevent"
                )
            finally:
                self._execute("ROLLBACK")
        return Snapshot(tracked, rows, put_aside)

    def tracked(self) -> dict[str, Tracked]:
        """Read the tracking rows, by the projections' names."""
        with self._lock:
            return self._tracked()

    def end_connections(self, choose: random.Random) -> int:
        """End one or all of the others' connections; return how many."""
        with self._lock:
            found = other_connections(self._connection, self.kind)
            if found and choose.random() < 0.5:
                found = [choose.choice(found)]
            return sum(
                end_connection(self._connection, self.kind, number) for number in found
            )

    def _tracked(self) -> dict[str, Tracked]:
        return {
            name: Tracked(*rest)
            for name, *rest in self._execute(
                "SELECT projection, position, event_position, owner, token, state,"
                " error FROM django_esdb_projectiontracking"
            )
        }

    def _only(self, sql: str) -> tuple[int, int]:
        rows = self._execute(sql)
        if not rows:
            return (0, 0)
        ((first, second),) = rows
        return (first, second)

    def _execute(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            return (
                [tuple(row) for row in cursor.fetchall()] if cursor.description else []
            )


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str | bytes) else value
