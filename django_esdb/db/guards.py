"""What keeps a view's rows and its position in one transaction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any

from django.db import Error as DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.effects import bare_name, names_in, text_of, writes_rows
from django_esdb.db.sessions import Session, session_of
from django_esdb.db.vendors import is_mariadb, is_postgresql
from django_esdb.exceptions import ViewDatabaseError

# Which connection has a limit: an attribute, since Django keeps the wrapper when it
# connects again.
_LIMITED = "_django_esdb_idle_limit"

# Of MariaDB and MySQL; needs the privilege PROCESS.
_TRANSACTION = (
    "SELECT trx_isolation_level FROM information_schema.innodb_trx "
    "WHERE trx_mysql_thread_id = CONNECTION_ID()"
)
# How long the server answers with the same list, and a bit.
_TRANSACTIONS_KEPT_SECONDS = 0.11


def refuse_statements(
    view_name: str,
    alias: str,
    other_alias: str,
    tables: Callable[[], Iterable[str]],
) -> Callable[..., Any]:
    """
    Return an execute wrapper for a database that is not a view's.

    Writes are refused, and so are reads of the view's own tables, as a router sends
    them to a replica: that does not have what the transaction has written. Reading
    anything else stays possible.

    Args:
        view_name: The view, for messages.
        alias: Its database.
        other_alias: The database that this is for.
        tables: Returns the names of its tables; asked for each statement.
    """

    def wrapper(
        execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        connection = context.get("connection")
        text = text_of(sql, connection and connection.connection)
        if writes_rows(text):
            statement = " ".join(text.split()[:3])
            msg = (
                f"{view_name} keeps its position in database {alias!r}, but writes to "
                f"{other_alias!r} ({statement} ...), so one transaction cannot hold "
                f"both; set using = {other_alias!r} on {view_name}"
            )
            raise ViewDatabaseError(msg)
        names = names_in(text)
        for table in tables():
            if bare_name(table).casefold() in names:
                msg = (
                    f"{view_name} reads {table} from database {other_alias!r}, which "
                    f"does not have what its transaction on {alias!r} has written; "
                    f"read it with .using({alias!r})"
                )
                raise ViewDatabaseError(msg)
        return execute(sql, params, many, context)

    return wrapper


def limit_idle_transactions(connection: BaseDatabaseWrapper, seconds: float) -> Session:
    """
    Have the database end the current transaction if its process is suspended in it.

    Otherwise its locks would hold up the next owner. Call it within the
    transaction, before anything else. SQLite has no such limit.

    Args:
        connection: The transaction's connection.
        seconds: How long the transaction may wait for its next statement.

    Returns:
        The session that the transaction is in.
    """
    if is_postgresql(connection):
        # In one round trip.
        query = (
            "SELECT pg_backend_pid(), "
            "set_config('idle_in_transaction_session_timeout', %s, true)"
        )
        with connection.cursor() as cursor:
            cursor.execute(query, [f"{seconds * 1000:.0f}"])
            return Session(connection.alias, cursor.fetchone()[0])
    if is_mariadb(connection):
        # In whole seconds and for a connection, so once for each.
        limit = max(1, math.floor(seconds))
        if getattr(connection, _LIMITED, None) != (connection.connection, limit):
            with connection.cursor() as cursor:
                # Whether or not it has written: a lock may be all that it has.
                cursor.execute(
                    f"SET SESSION idle_write_transaction_timeout = {limit}, "
                    f"idle_transaction_timeout = {limit}"
                )
            setattr(connection, _LIMITED, (connection.connection, limit))
    return session_of(connection)


def sees_new_commits(connection: BaseDatabaseWrapper) -> bool:
    """
    Return whether a query would see what others commit from now on.

    Within a transaction the database is asked for its isolation level, as that may be
    set in many places.
    """
    is_open = connection.connection is not None
    if not connection.in_atomic_block and (connection.autocommit or not is_open):
        return True
    if is_postgresql(connection):
        query = "SHOW transaction_isolation"
    elif is_mariadb(connection):
        query = "SELECT @@tx_isolation"
    elif connection.vendor == "mysql":
        query = "SELECT @@transaction_isolation"
    else:
        # SQLite: a transaction reads a snapshot.
        return False
    with connection.cursor() as cursor:
        cursor.execute(query)
        is_seeing = _is_seeing(cursor.fetchone()[0])
    # What was set for one transaction is no variable of MariaDB's or MySQL's.
    if is_seeing and connection.vendor == "mysql":
        return _is_seeing(_level_of_transaction(connection) or "read committed")
    return is_seeing


def _is_seeing(level: str) -> bool:
    return level.replace("-", " ").lower() in ("read committed", "read uncommitted")


def _level_of_transaction(connection: BaseDatabaseWrapper) -> str | None:
    """Return the level of the current transaction if the server says it, else None."""
    before = None
    for pause in (0, *[_TRANSACTIONS_KEPT_SECONDS] * 4):
        sleep(pause)
        try:
            with connection.cursor() as cursor:
                cursor.execute(_TRANSACTION)
                row = cursor.fetchone()
        except DatabaseError:
            # That takes a privilege.
            return None
        level = str(row[0]) if row else None
        # A list that others have asked for just before may have the last transaction.
        if level and (_is_seeing(level) or level == before):
            return level
        before = level
    return before


def limit_lock_waits(connection: BaseDatabaseWrapper, seconds: float) -> None:
    """
    Have a connection's statements give up soon where a lock cannot be passed by.

    That is so on SQLite, whose lock is the whole database's. Elsewhere locked rows can
    be skipped, and nothing is done.

    Args:
        connection: Of a thread that does nothing else with it.
        seconds: How long to wait for the lock.
    """
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")


@contextmanager
def shorter_lock_waits(
    connection: BaseDatabaseWrapper, seconds: float
) -> Iterator[None]:
    """
    Wait for no lock longer than this in the block, where a wait cannot be ended.

    That is so on SQLite, within its driver. Elsewhere nothing is done.
    """
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        before = int(cursor.fetchone()[0])
        cursor.execute(f"PRAGMA busy_timeout = {min(before, seconds * 1000):.0f}")
    raw = connection.connection
    try:
        yield
    finally:
        # Another connection has its own.
        if connection.connection is raw and connection.connection is not None:
            with connection.cursor() as cursor:
                cursor.execute(f"PRAGMA busy_timeout = {before}")
