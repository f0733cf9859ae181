"""Ending what another thread of this process does in the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from types import FrameType
from typing import Any

from django.db import OperationalError, backends, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.held_connections import driver_connection
from django_esdb.db.vendors import is_postgresql

# The number of a connection that stays the same for as long as that lasts: an
# attribute, since Django keeps the wrapper when it connects again.
_NUMBER = "_django_esdb_session_number"

# Of MariaDB and MySQL: there is no thread of this number.
_NO_SUCH_SESSION = 1094

# How long an interrupted statement of SQLite may take to end.
_STATEMENT_SECONDS = 1.0
# As Python calls it when threads may share a connection.
_SERIALIZED = 3
_BACKENDS = str(Path(backends.__file__).parent)


@dataclass(frozen=True)
class Session:
    """
    A connection, as another thread can name it.

    Attributes:
        using: Alias of the database.
        identity: Its number on the server; on SQLite the connection itself.
        seen: When it was in the transaction at hand, by the monotonic clock.
    """

    using: str
    identity: Any
    seen: float = field(default_factory=monotonic, compare=False)


def session_of(connection: BaseDatabaseWrapper) -> Session:
    """Return the session of an open connection; asks the database where it must."""
    raw = driver_connection(connection)
    if connection.vendor == "sqlite":
        return Session(connection.alias, raw)
    if is_postgresql(connection):
        # Behind a pooler each transaction may have another one.
        return Session(connection.alias, _ask(connection, "SELECT pg_backend_pid()"))
    known, number = getattr(connection, _NUMBER, (None, None))
    if known is not raw:
        number = _ask(connection, "SELECT CONNECTION_ID()")
        setattr(connection, _NUMBER, (raw, number))
    return Session(connection.alias, number)


def end_session(session: Session, frame: Callable[[], FrameType | None]) -> None:
    """
    End a session, whatever its thread is doing; its transaction is undone.

    What the thread does next with it fails. Uses the calling thread's connection,
    except on SQLite.

    Args:
        session: The session.
        frame: Tells where its thread is, None if that has ended.

    Raises:
        django.db.Error: The database cannot be used, or does not allow it.
    """
    connection = connections[session.using]
    if connection.vendor == "sqlite":
        # It is closed already.
        with suppress(sqlite3.Error):
            _end_connection(session.identity, frame)
        return
    if is_postgresql(connection):
        _terminate(session)
    else:
        _kill(connection, session.identity)


def _kill(connection: BaseDatabaseWrapper, number: Any) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("KILL CONNECTION %s", [number])
    except OperationalError as error:
        # It has ended by itself, as one does that was idle for too long.
        if error.args[:1] != (_NO_SUCH_SESSION,):
            raise


def _terminate(session: Session) -> None:
    # Meanwhile the number may be another session's, and a pooler may have given the
    # session to someone else: their transactions are younger. Half of the time, since
    # clocks are set.
    age = (monotonic() - session.seen) / 2
    query = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND "
        "(xact_start IS NULL OR xact_start <= "
        "clock_timestamp() - make_interval(secs => %s))"
    )
    with (
        transaction.atomic(using=session.using),
        connections[session.using].cursor() as cursor,
    ):
        # Who has logged in may end it; the role that is assumed may be a lesser one.
        cursor.execute("SET LOCAL ROLE NONE")
        cursor.execute(query, [session.identity, age])


def _end_connection(
    raw: sqlite3.Connection, frame: Callable[[], FrameType | None]
) -> None:
    """
    Roll back on another thread's connection, and have it refuse all from now on.

    Closing it instead would crash the process if the thread were within a statement;
    such a statement is interrupted, and must have ended first.
    """
    raw.interrupt()
    end = monotonic() + _STATEMENT_SECONDS
    while _is_in_statement(frame()):
        if monotonic() > end or sqlite3.threadsafety < _SERIALIZED:
            return
        sleep(0.01)
    raw.set_authorizer(_only_rollback)
    raw.rollback()


def _only_rollback(action: int, argument: str | None, *others: str | None) -> int:
    is_rollback = action == sqlite3.SQLITE_TRANSACTION and argument == "ROLLBACK"
    return sqlite3.SQLITE_OK if is_rollback else sqlite3.SQLITE_DENY


def _is_in_statement(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_BACKENDS):
            return True
        frame = frame.f_back
    return False


def _ask(connection: BaseDatabaseWrapper, query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]
