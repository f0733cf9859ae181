"""Other connections to a database, as an administrator sees and ends them."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import Any

from django.db import Error as DatabaseError

from tests.support.databases import connected

_OTHERS = {
    "postgres": "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY pid",
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = DATABASE()"
    " AND id <> CONNECTION_ID() ORDER BY id",
}
_END = {"postgres": "SELECT pg_terminate_backend({})", "mysql": "KILL CONNECTION {}"}


def kind_of(url: str) -> str:
    """Return ``sqlite``, ``postgres`` or ``mysql``."""
    return url.partition(":")[0]


def other_connections(connection: Any, kind: str) -> list[int]:
    """Return the numbers of the others, in order."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(_OTHERS[kind])
        return [number for (number,) in cursor.fetchall()]


def end_connection(connection: Any, kind: str, number: int) -> bool:
    """End one of the others; tell whether it was still there."""
    with closing(connection.cursor()) as cursor:
        try:
            cursor.execute(_END[kind].format(number))
        except Exception as error:
            # It has ended by itself in the meantime.
            if "Unknown thread id" not in str(error):
                raise
            return False
    return True


def kill_own_connection(connection: Any) -> None:
    """End one of Django's, as a server does that goes away; its next query fails."""
    statement = {
        "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
        "mysql": "KILL CONNECTION_ID()",
    }[connection.vendor]
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute(statement)


def kill_connections(url: str) -> int:
    """End all other connections to a database; return how many there were."""
    kind = kind_of(url)
    with connected(url) as connection:
        return sum(
            end_connection(connection, kind, number)
            for number in other_connections(connection, kind)
        )


def open_connections(url: str) -> int:
    """Return how many other connections to a database there are."""
    with connected(url) as connection:
        return len(other_connections(connection, kind_of(url)))
