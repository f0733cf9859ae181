"""
What databases do differently, each as a question of its own.

Nothing outside of this package asks which vendor a database is. So another database is
supported here, in :mod:`django_esdb.db.functions`, :mod:`django_esdb.db.guards`,
:mod:`django_esdb.db.many_rows` and :mod:`django_esdb.db.copied_rows`.
"""

from __future__ import annotations

import datetime
import sqlite3
import zoneinfo
from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

# Of libpq: there is no transaction, and one that only a rollback can end.
_IDLE = 0
_IN_ERROR = 3
# The errors by which MySQL undoes a whole transaction, the second one if it is told to.
_DEADLOCK = 1213
_LOCK_WAIT_TIMEOUT = 1205
# Constraints that might be deferred, and are not unless they are told to be.
_POSTGRESQL_IMMEDIATE = """
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.conname)
    FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
    WHERE c.condeferrable AND NOT c.condeferred
"""
# Seconds in which another writer's transaction has ended, if all goes well.
_SHORTEST_LOCK_WAIT = 1
# Few enough for the smallest packet that a server of MySQL is commonly told to take,
# also where each character takes several bytes.
_CHARACTERS_OF_MANY_ROWS = 250_000
# Of psycopg's pools, unless they are told.
_POOL_SIZE = 4


def is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql"


def is_mariadb(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "mysql" and bool(
        getattr(connection, "mysql_is_mariadb", False)
    )


def can_skip_locked_rows(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a query can leave out rows that another transaction has locked."""
    return bool(connection.features.has_select_for_update_skip_locked)


def ignores_case(connection: BaseDatabaseWrapper) -> bool:
    """Return whether texts that differ in case alone are one unique value."""
    return connection.vendor == "mysql"


def limits_texts(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a text that is too long for its column is refused."""
    return connection.vendor != "sqlite"


def rounds_decimals(connection: BaseDatabaseWrapper) -> bool:
    """
    Return whether the server rounds decimal places that a column has no room for.

    Half a unit away from zero. SQLite keeps what it is given.
    """
    return connection.vendor != "sqlite"


def may_commit_out_of_order(connection: BaseDatabaseWrapper) -> bool:
    """
    Return whether a row's number can appear after a higher one.

    It can where numbers are given before the commit and writers do not wait for
    each other.
    """
    return connection.vendor == "mysql"


def most_parameters(connection: BaseDatabaseWrapper) -> int:
    """Return how many parameters a statement may have, as far as is worth while."""
    if connection.vendor != "sqlite":
        return 30_000
    # Django assumes 999, the default of an old SQLite.
    getlimit = getattr(connection.connection, "getlimit", None)
    if getlimit is None:
        return 999
    return min(int(getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)), 30_000)


def most_characters(connection: BaseDatabaseWrapper) -> int | None:
    """
    Return how long all values in a statement for several rows may be; None for any.

    MySQL ends the connection where a statement is longer than ``max_allowed_packet``.
    """
    return _CHARACTERS_OF_MANY_ROWS if connection.vendor == "mysql" else None


def checks_references_late(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a reference may lead nowhere until the transaction ends."""
    return connection.vendor != "mysql"


def immediate_constraints(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """Return the constraints that may be looked at late, and are not."""
    if connection.vendor != "postgresql":
        return ()
    with connection.cursor() as cursor:
        cursor.execute(_POSTGRESQL_IMMEDIATE)
        return tuple(name for (name,) in cursor.fetchall())


def check_references_now(
    connection: BaseDatabaseWrapper, immediate: Sequence[str]
) -> bool:
    """
    Have the database look now at references that it would look at in the end.

    Args:
        connection: To the database.
        immediate: What it looks at with each statement, and then does to it.

    Returns:
        Whether it could; else only the end of the transaction tells.

    Raises:
        IntegrityError: A reference leads nowhere.
    """
    if connection.vendor != "postgresql":
        return not checks_references_late(connection)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        if immediate:
            cursor.execute(f"SET CONSTRAINTS {', '.join(immediate)} IMMEDIATE")
    return True


def writes_in_functions(connection: BaseDatabaseWrapper) -> bool:
    """Return whether functions may write what is looked at when a transaction ends."""
    return connection.vendor == "postgresql"


def recovers_at_savepoints(connection: BaseDatabaseWrapper) -> bool:
    """Return whether an error fails a transaction up to the last savepoint."""
    return connection.vendor == "postgresql"


def has_ended_transaction(
    connection: BaseDatabaseWrapper, error: BaseException
) -> bool:
    """
    Return whether nothing of a transaction can be committed, since a statement failed.

    Args:
        connection: The transaction's.
        error: What the statement raised; on other databases than PostgreSQL, where it
            is asked for at once.
    """
    raw = connection.connection
    if raw is None:
        return True
    if connection.vendor == "postgresql":
        return int(raw.info.transaction_status) == _IN_ERROR
    if connection.vendor == "sqlite":
        return not raw.in_transaction
    if is_mariadb(connection):
        # Deadlocks are not all: snapshots that are out of date undo it, too.
        return not _answer(connection, "SELECT @@in_transaction")
    return error.args[:1] == (_DEADLOCK,) or (
        error.args[:1] == (_LOCK_WAIT_TIMEOUT,)
        and bool(_answer(connection, "SELECT @@innodb_rollback_on_timeout"))
    )


def has_no_transaction(connection: BaseDatabaseWrapper) -> bool:
    """
    Return whether a transaction that was open is not any more, as far as is known here.

    The database is not asked, and MySQL's driver does not tell. False for a connection
    that is closed.
    """
    raw = connection.connection
    if raw is None:
        return False
    if connection.vendor == "postgresql":
        # Of psycopg, and of psycopg2.
        known = getattr(raw, "pgconn", None) or raw.info
        return int(known.transaction_status) == _IDLE
    if connection.vendor == "sqlite":
        try:
            return not raw.in_transaction
        except sqlite3.ProgrammingError:
            return False
    return False


def _answer(connection: BaseDatabaseWrapper, query: str) -> Any:
    """Ask past Django's wrappers; None if the connection does not answer."""
    driver: Any = connection
    try:
        with connection.connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]
    except driver.Database.Error:
        return None


def sorts_json_keys(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the keys of JSON objects come back in an order of their own."""
    return connection.vendor == "postgresql"


def limits_decimal_digits(connection: BaseDatabaseWrapper) -> bool:
    """Return whether decimals of more than fifteen digits are not kept exactly."""
    return connection.vendor == "sqlite"


def may_lack_long_characters(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a column may have no room for characters beyond U+FFFF."""
    return connection.vendor == "mysql"


def begins_without_write_lock(connection: BaseDatabaseWrapper) -> bool:
    """
    Return whether a transaction that writes may find the database locked half-way.

    A database in memory has no other writers. Does not connect.
    """
    if connection.vendor != "sqlite" or is_in_memory(connection):
        return False
    mode = connection.settings_dict["OPTIONS"].get("transaction_mode") or "DEFERRED"
    return str(mode).upper() not in ("IMMEDIATE", "EXCLUSIVE")


def is_in_memory(connection: BaseDatabaseWrapper) -> bool:
    """
    Return whether a database is in a process's memory, where no other one finds it.

    Does not connect.
    """
    name = str(connection.settings_dict["NAME"])
    return connection.vendor == "sqlite" and (
        name == ":memory:" or "mode=memory" in name
    )


def useless_lock_wait(connection: BaseDatabaseWrapper) -> object:
    """
    Return for how long a writer waits for others, if it is too short or no number.

    None where it is long enough, or the database is not one with a single writer. Does
    not connect.
    """
    if connection.vendor != "sqlite" or is_in_memory(connection):
        return None
    options = connection.settings_dict["OPTIONS"]
    seconds: object = options.get("timeout", _SHORTEST_LOCK_WAIT)
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        # Neither is one that is none, nan.
        return None if seconds >= _SHORTEST_LOCK_WAIT else seconds
    return str(seconds) if seconds is None else seconds


def most_connections(connection: BaseDatabaseWrapper) -> int | None:
    """Return how many connections its pool has; None without a pool, or a limit."""
    pool = connection.settings_dict["OPTIONS"].get("pool")
    if connection.vendor != "postgresql" or not pool:
        return None
    options = pool if isinstance(pool, dict) else {}
    least = options.get("min_size", _POOL_SIZE)
    # As psycopg has it.
    return int(least if options.get("max_size") is None else options["max_size"])


def keeps_utc_times(connection: BaseDatabaseWrapper) -> bool:
    """Return whether its columns' times have no zone, and the clock's are in UTC."""
    return connection.vendor in ("sqlite", "mysql")


def zone_of_columns(connection: BaseDatabaseWrapper) -> datetime.tzinfo | None:
    """Return the zone that the server takes times for that have none; None if none."""
    if connection.vendor != "postgresql" or connection.timezone_name == "UTC":
        return None
    return zoneinfo.ZoneInfo(connection.timezone_name)


def returns_new_rows(connection: BaseDatabaseWrapper) -> bool:
    """Return whether an insertion of several rows tells the keys that they got."""
    return bool(connection.features.can_return_rows_from_bulk_insert)
