"""What is to be done after the commit, by ``transaction.on_commit``, event by event."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from eventsourcing.persistence import Tracking

from eventsourcing_eventstoredb.logs import log

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
        for index in range(self.known, len(callbacks)):
            savepoints, function, is_robust = callbacks[index]
            call = partial(_call, function, self._projection, tracking)
            callbacks[index] = (savepoints, call, is_robust)
        self.known = len(callbacks)


def _call(
    function: Callable[[], Any], projection: str, tracking: Tracking | None
) -> None:
    try:
        function()
    except BaseException:
        # Also what would end a thread: the transaction is committed already.
        log(
            logger,
            logging.ERROR,
            "An on_commit callback failed",
            projection=projection,
            application=None if tracking is None else tracking.application_name,
            position=None if tracking is None else tracking.notification_id,
            exc_info=True,
        )
