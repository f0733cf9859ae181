"""What is to be done after the commit, by ``transaction.on_commit``, event by event."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from eventsourcing.persistence import Notification, Tracking

from django_esdb.db.connections import close_if_lost
from django_esdb.handlers.functions import check_returned
from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.metadata import handled_notification, handling

logger = logging.getLogger("django_esdb.recorders")


class CommitCallbacks:
    """
    Notes which event has registered which callback of a transaction.

    Django calls them one after the other when the transaction is committed. By then
    the events are processed, so a callback that fails is logged, and stops neither the
    others nor the projection.

    Args:
        connection: The transaction's.
        projection: Whose transaction it is.

    Attributes:
        known: How many callbacks there were at the last call of :meth:`belong_to`.
    """

    def __init__(self, connection: BaseDatabaseWrapper, projection: str) -> None:
        self._connection = connection
        self._projection = projection
        self.known = len(connection.run_on_commit)

    def belong_to(self, tracking: Tracking | None) -> None:
        """Note that what was registered since the last call is of this event."""
        # More than its stubs say: savepoints, function, and whether it may fail.
        callbacks: list[Any] = self._connection.run_on_commit
        if len(callbacks) == self.known:
            return
        # What a callback saves follows from the event that has registered it.
        notification = handled_notification()
        for index in range(self.known, len(callbacks)):
            savepoints, function, is_robust = callbacks[index]
            call = partial(self._call, function, tracking, notification)
            callbacks[index] = (savepoints, call, is_robust)
        self.known = len(callbacks)

    def _call(
        self,
        function: Callable[[], Any],
        tracking: Tracking | None,
        notification: Notification | None,
    ) -> None:
        handled = nullcontext() if notification is None else handling(notification)
        try:
            with handled:
                check_returned(function(), "an on_commit callback")
            self._require_autocommit()
        except BaseException:
            # Also what would end a thread: the transaction is committed already.
            log(
                logger,
                logging.ERROR,
                "An on_commit callback failed",
                projection=self._projection,
                application=None if tracking is None else tracking.application_name,
                position=None if tracking is None else tracking.notification_id,
                exc_info=True,
            )
            # The next ones need one that can be used.
            close_if_lost(self._connection)

    def _require_autocommit(self) -> None:
        connection = self._connection
        # In a transaction that is around all of it, as in a test, it is off.
        if connection.autocommit or connection.in_atomic_block:
            return
        if connection.connection is None:
            return
        # Else nothing would be committed any more on this connection.
        connection.close()
        msg = (
            "it has left autocommit off, so that what it did is undone; use "
            "transaction.atomic()"
        )
        raise transaction.TransactionManagementError(msg)
