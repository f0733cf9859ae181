"""
Database connections of threads that run for ever.

In a web process Django looks after connections when a request begins and ends. Here
nothing ends, so each thread says when it begins and ends to work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connections, reset_queries
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

T = TypeVar("T")

# After a pause that long a connection may have been ended, and before one that
# long nothing is gained by holding it.
IDLE_SECONDS = 5.0
# With CONN_MAX_AGE = 0 a connection is to serve one request. Here that is what is done
# without a longer pause; but not for ever, so that a database that has moved is found.
LONGEST_USE_SECONDS = 60.0
# How often such a connection is tried while it is in use.
TRIED_SECONDS = 1.0

_opened_at: WeakKeyDictionary[BaseDatabaseWrapper, float] = WeakKeyDictionary()


def _note_opening(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    _opened_at[connection] = monotonic()


connection_created.connect(_note_opening)


class ConnectionKeeper:
    """
    Looks after all database connections of one thread, whichever their alias.

    ``CONN_MAX_AGE`` holds, but one of 0 lets a connection live for as long as it is
    used without pause, up to a minute: to connect for each batch would cost more than
    the batch.
    """

    def __init__(self) -> None:
        self._used_at = self._tried_at = monotonic()
        self._is_working = False

    def begin_work(self) -> None:
        """
        Close what is broken or too old; call it before the database is used.

        After a pause connections are tried with a query, so that it is not the work
        that finds out.
        """
        # Else an error has kept it from ending.
        has_ended, self._is_working = not self._is_working, True
        now = monotonic()
        if now - self._used_at < IDLE_SECONDS:
            is_due = now - self._tried_at >= TRIED_SECONDS or not has_ended
            if is_due:
                self._tried_at = now
            _close_old_in_use(begins=True, is_due=is_due)
            return
        self._tried_at = now
        for connection in _open_connections():
            connection.close_if_unusable_or_obsolete()
            _close_if_unusable(connection)

    def end_work(self, pause: float) -> None:
        """
        Close what is too old to be held, and forget logged queries.

        It may be called again in a pause, to look after connections that grow old.

        Args:
            pause: Seconds in which the thread will not use the database.
        """
        if self._is_working:
            self._is_working = False
            self._used_at = monotonic()
        if pause < IDLE_SECONDS:
            _close_old_in_use(begins=False, is_due=False)
        else:
            for connection in _open_connections():
                connection.close_if_unusable_or_obsolete()
        # Without DEBUG only those are logged that are captured, as by a test.
        if settings.DEBUG:
            reset_queries()


def with_connections_kept(items: Iterable[T]) -> Iterator[T]:
    """Yield the items, and look after connections before and after each's turn."""
    keeper = ConnectionKeeper()
    for item in items:
        keeper.begin_work()
        yield item
        # It is not known when the next one comes.
        keeper.end_work(0)


def close_connections() -> None:
    """Close this thread's connections, except where it is in a transaction."""
    for connection in _open_connections():
        connection.close()


def close_if_lost(connection: BaseDatabaseWrapper) -> bool:
    """
    Close a connection on which a query has failed, if it cannot be used any more.

    Returns:
        Whether another try would be on a new connection. Within a transaction it
        never is.
    """
    if connection.in_atomic_block:
        return False
    if connection.connection is not None and connection.is_usable():
        return False
    connection.close()
    return True


def _open_connections() -> list[BaseDatabaseWrapper]:
    return [
        connection
        for connection in connections.all(initialized_only=True)
        if connection.connection is not None and not connection.in_atomic_block
    ]


def _close_old_in_use(*, begins: bool, is_due: bool) -> None:
    for connection in _open_connections():
        if connection.settings_dict["CONN_MAX_AGE"] != 0:
            connection.close_if_unusable_or_obsolete()
            continue
        # The same would close it at once.
        opened_at = _opened_at.setdefault(connection, monotonic())
        if monotonic() - opened_at >= LONGEST_USE_SECONDS:
            connection.close()
        elif is_due or (begins and connection.settings_dict["CONN_HEALTH_CHECKS"]):
            _close_if_unusable(connection)


def _close_if_unusable(connection: BaseDatabaseWrapper) -> None:
    if connection.connection is not None and not connection.is_usable():
        connection.close()
