"""Seeing to it that a view's transaction lasts until all of it is committed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_esdb.db.effects import ending
from django_esdb.db.errors import is_refused_after_another
from django_esdb.db.forked import kept_from_children
from django_esdb.db.held_connections import has_ended, held, would_end
from django_esdb.db.vendors import (
    has_ended_transaction,
    has_no_transaction,
    recovers_at_savepoints,
)


class HeldTransaction:
    """
    Tells when statements of a handler end the transaction, or have it fail.

    Position and rows would part: what is before the end stays though the event fails,
    and what is after it is committed by itself.

    Args:
        connection: The transaction's.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._failed_by: DatabaseError | None = None
        self._closed: transaction.TransactionManagementError | None = None
        self._is_over = False
        self._is_held = self._is_lost = False

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Refuse what ends the transaction, which is open, within the block."""
        self._is_held = True
        with kept_from_children(self._connection), held(self._connection):
            yield

    def check_open(self) -> None:
        """
        Look whether the transaction is still there, without asking the database.

        Raises:
            NotSupportedError: It was ended past Django.
            TransactionManagementError: Its connection was closed.
        """
        self.check_connection()
        self._is_lost = self._is_lost or (
            self._is_held and not self._is_over and has_no_transaction(self._connection)
        )
        if self._is_lost:
            raise has_ended()

    def check_connection(self) -> None:
        """
        Look whether the connection is the one that the transaction was begun on.

        Raises:
            TransactionManagementError: It was closed.
        """
        if self._connection.closed_in_transaction:
            # The same one, however often it is caught.
            self._closed = self._closed or transaction.TransactionManagementError(
                "The connection was closed within the transaction, of which nothing is "
                "committed therefore; a handler may close those that a thread of its "
                "own has opened, and in that thread, but not the view's"
            )
            raise self._closed

    def check_before(self, text: str) -> None:
        """
        Look at a statement that is about to be executed.

        Raises:
            NotSupportedError: It would end the transaction.
            TransactionManagementError: The transaction has ended.
        """
        if self._is_over:
            raise self._lost()
        # SQLite's transaction begins by a statement, too.
        words = self._connection.in_atomic_block and ending(text, self._connection)
        if words:
            raise would_end(words)

    def failed(self, error: DatabaseError) -> None:
        """
        Note that a statement has failed.

        Raises:
            TransactionManagementError: An earlier one had, which was caught. That one
                says whether the same may pass.
        """
        if recovers_at_savepoints(self._connection):
            if self._failed_by is not None and is_refused_after_another(error):
                raise self._lost() from self._failed_by
            self._failed_by = self._failed_by or error
        elif has_ended_transaction(self._connection, error):
            self._failed_by, self._is_over = error, True

    def rolled_back(self) -> None:
        """Note that it went back to a savepoint."""
        if not self._is_over:
            self._failed_by = None

    def check(self) -> None:
        """
        Look whether what was done so far can be committed.

        Raises:
            TransactionManagementError: The database would not commit it.
        """
        self.check_connection()
        error = self._failed_by
        if error is None:
            return
        if self._is_over or has_ended_transaction(self._connection, error):
            raise self._lost()
        self._failed_by = None

    def _lost(self) -> transaction.TransactionManagementError:
        msg = (
            "A statement has failed, and the database commits nothing of its "
            "transaction any more, also if the error is caught; put what may fail into "
            "a savepoint, by transaction.atomic()"
        )
        error = transaction.TransactionManagementError(msg)
        error.__cause__ = self._failed_by
        return error
