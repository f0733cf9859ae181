"""Refusing what ends a transaction by methods of a database's driver."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NoReturn

from django.db import NotSupportedError
from django.db.backends.base.base import BaseDatabaseWrapper


def would_end(words: str) -> NotSupportedError:
    """Return the error for what would end the transaction of rows and position."""
    return NotSupportedError(
        f"{words} would end the transaction that rows and position are in together; "
        "use transaction.atomic() for savepoints, delete rows by "
        "Model.objects.all().delete(), and change tables by migrations"
    )


def has_ended() -> NotSupportedError:
    """Return the error for a transaction that was ended behind Django's back."""
    return NotSupportedError(
        "The transaction that rows and position are in together was ended through the "
        "driver's own connection or cursor; use transaction.atomic() for savepoints"
    )


@contextmanager
def held(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """
    Refuse methods of the driver that end a transaction, within the block.

    Django itself refuses its own ones, and statements are looked at elsewhere. Within
    a block for the same connection nothing is done.

    Args:
        connection: With an open transaction.
    """
    raw = connection.connection
    if connection.vendor == "sqlite":
        # It takes no attributes.
        if raw is None or isinstance(raw, _HeldSqlite):
            yield
            return
        connection.connection = known = _HeldSqlite(raw)
        try:
            yield
        finally:
            if connection.connection is known:
                connection.connection = raw
        return
    # Not of drivers that are written in C altogether, as psycopg2 is.
    attributes = getattr(raw, "__dict__", None)
    refused = _REFUSED.get(connection.vendor, {})
    if attributes is None or not refused or refused.keys() <= attributes.keys():
        yield
        return
    attributes.update(refused)
    try:
        yield
    finally:
        for name in refused:
            attributes.pop(name, None)


def driver_connection(connection: BaseDatabaseWrapper) -> Any:
    """Return the driver's own connection, which is the same in and out of a block."""
    raw = connection.connection
    return raw.raw if isinstance(raw, _HeldSqlite) else raw


def _refuse(name: str) -> Callable[..., NoReturn]:
    words = f"connection.{name}()"

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise would_end(words)

    return refuse


# Of a driver's connections: each ends the transaction that is open.
_REFUSED = {
    vendor: {name: _refuse(name) for name in names}
    for vendor, names in (
        ("postgresql", ("commit", "rollback")),
        ("mysql", ("commit", "rollback", "begin", "autocommit")),
    )
}


class _HeldSqlite:
    """
    SQLite's connection, without what ends its transaction.

    Args:
        raw: The connection.
    """

    __slots__ = ("raw",)

    raw: sqlite3.Connection

    def __init__(self, raw: sqlite3.Connection) -> None:
        object.__setattr__(self, "raw", raw)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("isolation_level", "autocommit"):
            # Most of their values commit.
            raise would_end(f"connection.{name}")
        setattr(self.raw, name, value)

    def cursor(self, factory: type[sqlite3.Cursor] = sqlite3.Cursor) -> sqlite3.Cursor:
        return self.raw.cursor(factory=_held_cursor(factory))

    commit = staticmethod(_refuse("commit"))
    rollback = staticmethod(_refuse("rollback"))
    executescript = staticmethod(_refuse("executescript"))

    def __enter__(self) -> NoReturn:
        # Python calls it at the end of the block.
        raise would_end("connection.__exit__()")

    def __exit__(self, *args: object) -> None:
        """Have Python try to enter."""


@cache
def _held_cursor(factory: type[sqlite3.Cursor]) -> type[sqlite3.Cursor]:
    def executescript(self: Any, script: str) -> NoReturn:
        raise would_end("executescript()")

    return type(factory.__name__, (factory,), {"executescript": executescript})
