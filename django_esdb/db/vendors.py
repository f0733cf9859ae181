"""
What databases do differently, each as a question of its own.

Nothing outside of this package asks which vendor a database is. So another database is
supported here, in :mod:`django_esdb.db.functions` and in :mod:`django_esdb.db.guards`.
"""

from __future__ import annotations

import sqlite3

from django.db.backends.base.base import BaseDatabaseWrapper


def is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql"


def is_mariadb(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "mysql" and bool(
        getattr(connection, "mysql_is_mariadb", False)
    )


def can_skip_locked_rows(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a query can leave out rows that another transaction has locked."""
    return bool(connection.features.has_select_for_update_skip_locked)


def checks_references_at_once(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a row must be there before another one can refer to it."""
    return connection.vendor == "mysql"


def can_upsert(connection: BaseDatabaseWrapper, *, has_other_unique: bool) -> bool:
    """
    Return whether rows can be inserted, or updated if their primary key is there.

    Args:
        has_other_unique: Whether the model has more unique values than its key.
    """
    features = connection.features
    if features.supports_update_conflicts_with_target:
        return True
    # MariaDB would take a clash with any unique value for the row that is
    # meant, and change another one.
    return features.supports_update_conflicts and not has_other_unique


def upsert_target(connection: BaseDatabaseWrapper) -> list[str] | None:
    """Return which fields Django is to name as those that may clash in an upsert."""
    return ["pk"] if connection.features.supports_update_conflicts_with_target else None


def ignores_case(connection: BaseDatabaseWrapper) -> bool:
    """Return whether texts that differ in case alone are one unique value."""
    return connection.vendor == "mysql"


def limits_texts(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a text that is too long for its column is refused."""
    return connection.vendor != "sqlite"


def rounds_decimals(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the server rounds decimal places that a column has no room for."""
    return connection.vendor == "postgresql"


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


def checks_references_late(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a reference may lead nowhere until the transaction ends."""
    return connection.vendor != "mysql"


def check_references_now(connection: BaseDatabaseWrapper) -> bool:
    """
    Have the database look now at references that it would look at in the end.

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
    return True


def sorts_json_keys(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the keys of JSON objects come back in an order of their own."""
    return connection.vendor == "postgresql"


def limits_decimal_digits(connection: BaseDatabaseWrapper) -> bool:
    """Return whether decimals of more than fifteen digits are not kept exactly."""
    return connection.vendor == "sqlite"


def may_lack_long_characters(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a column may have no room for characters beyond U+FFFF."""
    return connection.vendor == "mysql"
