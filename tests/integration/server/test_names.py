"""A stream is found by its name, wherever that is, and never begun twice."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest

from eventsourcing_eventstoredb.server.engine.appends import Appended, Writer
from eventsourcing_eventstoredb.server.errors import WrongExpectedVersionError
from eventsourcing_eventstoredb.server.storage import names
from eventsourcing_eventstoredb.server.storage.log import Log
from eventsourcing_eventstoredb.server.storage.records import NO_STREAM, NewEvent

MOST = 3


class UndoneError(Exception):
    """Undoes a transaction."""


FIRST_FORMAT = """
CREATE TABLE streams (
    key INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_number INTEGER NOT NULL
);
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
PRAGMA application_id = 1163084866;
PRAGMA user_version = 1;
INSERT INTO streams VALUES (1, 'dog', 1), (2, '$$dog', 0), (4, 'cat', 0);
INSERT INTO records VALUES
    (1024, 1, 0, x'01', 'T', 1, 1, '{"a":1}', ''),
    (2048, 2, 0, x'02', '$metadata', 1, 1, '{"$maxCount":1}', ''),
    (3072, 1, 1, x'03', 'T', 1, 1, '{"a":2}', ''),
    (4096, 4, 0, x'04', 'T', 1, 1, '{"a":3}', '');
"""


def new_event() -> NewEvent:
    return NewEvent(uuid.uuid4().bytes, "T", True, b"{}")


def begin(log: Log, name: str) -> Appended:
    return Writer(log).append(name, NO_STREAM, [new_event()])


def indexed(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT name FROM stream_names ORDER BY name")
        return [name for (name,) in found]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(names, "MOST_UNINDEXED", MOST)
    return tmp_path / "events.db"


@pytest.fixture
def log(file: Path) -> Iterator[Log]:
    with closing(Log(file)) as log:
        yield log


def test_names_go_to_the_index_when_they_are_many(log: Log, file: Path) -> None:
    for name in ("dog", "cat"):
        begin(log, name)
    assert indexed(file) == []

    begin(log, "ant")
    assert indexed(file) == ["ant", "cat", "dog"]

    begin(log, "bee")
    assert indexed(file) == ["ant", "cat", "dog"]
    for name in ("ant", "bee", "cat", "dog"):
        with pytest.raises(WrongExpectedVersionError):
            begin(log, name)


@pytest.mark.parametrize("known", [0, 4, 100])
def test_a_server_that_is_killed_has_begun_what_it_acknowledged(
    log: Log, file: Path, tmp_path: Path, known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MOST_KNOWN", known)
    begun = []
    for number in range(2 * MOST + 2):
        begun.append(f"stream-{number}")
        begin(log, begun[-1])
        # What it leaves behind at this moment.
        left = tmp_path / f"left-{number}.db"
        shutil.copy(file, left)
        shutil.copy(f"{file}-wal", f"{left}-wal")

        with closing(Log(left)) as again:
            for name in begun:
                state = again.stream(name)
                assert state is not None
                assert len(again.stream_forwards(state, 0, 9, 9)) == 1
                with pytest.raises(WrongExpectedVersionError):
                    begin(again, name)
            for name in ("a", "b", "c"):
                begin(again, name)
            assert [record.stream for record in again.forwards(0, 99)] == [
                *begun,
                *"abc",
            ]


def test_who_reads_an_older_state_finds_streams_whose_names_go_to_the_index(
    log: Log, file: Path
) -> None:
    begin(log, "dog")

    def write() -> None:
        for number in range(MOST):
            begin(log, f"stream-{number}")

    writer = threading.Thread(target=write)
    with log.snapshot():
        assert log.stream("stream-0") is None
        before = log.stream("dog")
        writer.start()
        while not indexed(file):
            pass
        assert log.stream("dog") == before
        assert log.stream("stream-0") is None
    writer.join()

    assert log.stream("dog") == before
    assert log.stream("stream-0") is not None


def test_a_stream_whose_beginning_was_undone_is_not_taken_for_another_one(
    log: Log, file: Path
) -> None:
    def undo() -> None:
        with log.transaction() as transaction:
            transaction.begin("undone", [new_event()])
            raise UndoneError

    with pytest.raises(UndoneError):
        undo()
    # It gets the key that the other one would have had.
    begin(log, "dog")
    # Who has looked for the key before finds what it belongs to by now.
    with patch.object(log._names, "key", lambda name: 1):
        assert log.stream("undone") is None
        assert log.stream("dog") is not None

    for number in range(MOST):
        begin(log, f"stream-{number}")

    assert "dog" in indexed(file)
    assert "undone" not in indexed(file)
    assert log.stream("undone") is None


def test_streams_are_begun_while_the_index_cannot_be_written(
    log: Log, file: Path
) -> None:
    connection = log._database.writer
    connection.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON stream_names"
        " BEGIN SELECT RAISE(ABORT, 'refused'); END"
    )
    for number in range(2 * MOST - 1):
        begin(log, f"stream-{number}")
    assert indexed(file) == []
    connection.execute("DROP TRIGGER refuse")

    begin(log, "last")

    assert len(indexed(file)) == 2 * MOST
    for name in ("stream-0", "last"):
        with pytest.raises(WrongExpectedVersionError):
            begin(log, name)


def test_a_file_of_the_first_format_is_brought_to_the_next(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(FIRST_FORMAT)

    for _ in range(2):
        with closing(Log(file)) as log:
            for name in ("dog", "cat", "$$dog"):
                with pytest.raises(WrongExpectedVersionError):
                    begin(log, name)
            assert log.metadata_streams(9) == ["$$dog"]
            assert [record.stream for record in log.forwards(0, 4)] == [
                *("dog", "$$dog", "dog", "cat")
            ]
    with closing(Log(file)) as log:
        begin(log, "ant")
        Writer(log).append("dog", 1, [new_event()])

    with closing(sqlite3.connect(file)) as connection:
        streams = connection.execute("SELECT * FROM streams ORDER BY key").fetchall()
        assert streams == [(1, "dog", 2), (2, "$$dog", 0), (4, "cat", 0), (5, "ant", 0)]
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
