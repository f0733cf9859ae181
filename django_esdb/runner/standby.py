"""Waiting for a projection that another process runs, or that is paused."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from django.db import connections
from eventsourcing.application import Application

from django_esdb.applications import make_application
from django_esdb.conf import settings
from django_esdb.db.connections import ConnectionKeeper
from django_esdb.exceptions import LeaseHeldError, ProjectionError, is_transient
from django_esdb.leases.lease import Lease, acquire_lease
from django_esdb.leases.process_identity import new_owner
from django_esdb.models import ProjectionState, ProjectionTracking
from django_esdb.registry import Registration
from django_esdb.subscriptions.positions import is_caught_up
from eventsourcing_eventstoredb.text import one_line

logger = logging.getLogger("django_esdb.runner")

# How soon an owner that stopped in good order is noticed.
POLL_SECONDS = 0.5
# While the database or the event store is away.
LONGEST_POLL_SECONDS = 10.0


class Standby:
    """
    Gets the lease of a projection as soon as it can be had.

    Args:
        registration: The projection.
        stopping: Ends the waiting when it is set.
        exclusive: Whether another owner is an error.
        refuses_pause: Whether a pause is an error.
        standing_by: Called with the owner's name when the waiting begins.

    Attributes:
        has_waited: Whether there ever was something to wait for.
    """

    def __init__(
        self,
        registration: Registration,
        stopping: threading.Event,
        *,
        exclusive: bool,
        refuses_pause: bool,
        standing_by: Callable[[str], None],
    ) -> None:
        self._registration = registration
        self._tracked = registration.tracked()
        self._stopping = stopping
        self._exclusive = exclusive
        self._refuses_pause = refuses_pause
        self._standing_by = standing_by
        self._owner = new_owner()
        self.has_waited = False
        self._has_had_lease = False
        # Whoever starts a process wants what was paused to be tried again; what is
        # paused later, also by others, is to stay so.
        self._may_resume = True
        self._announced: str | None = None
        self._connections = ConnectionKeeper()

    def wait(self, is_done: Callable[[], bool]) -> Lease | None:
        """
        Wait for the lease; blocks until it is there.

        Args:
            is_done: Asked from time to time whether waiting has become needless.

        Returns:
            The lease; None if stopped or needless.

        Raises:
            LeaseHeldError: Another process has it, and that is an error.
            ProjectionError: The projection is paused, and that is an error.
        """
        pause = POLL_SECONDS
        self._announced = None
        while not self._stopping.is_set():
            self._connections.begin_work()
            try:
                lease = self._try_once()
                self._may_resume = False
                if lease is not None:
                    self._has_had_lease = True
                    return lease
                if is_done():
                    return None
                pause = POLL_SECONDS
            except Exception as error:
                is_settled = self.has_waited or self._has_had_lease
                if not is_settled or not is_transient(error):
                    raise
                self._announce(
                    "interrupted",
                    "Standing by was interrupted: projection=%s error=%s",
                    self._registration.name,
                    one_line(error),
                )
                connections.close_all()
                pause = min(pause * 2, LONGEST_POLL_SECONDS)
            self.has_waited = True
            self._connections.end_work(pause)
            self._stopping.wait(pause)
        return None

    def _try_once(self) -> Lease | None:
        row = self._tracked.row()
        if self._is_paused(row):
            if self._refuses_pause:
                raise ProjectionError(row.error)
            self._announce(
                "paused",
                "Projection is paused: projection=%s error=%s",
                row.projection,
                row.error,
            )
            return None
        lease = acquire_lease(self._tracked, self._owner, settings.ESDB_LEASE_SECONDS)
        if lease is None:
            row = self._tracked.row()
            self._say_owned(row)
        return lease

    def _is_paused(self, row: ProjectionTracking) -> bool:
        if row.state != ProjectionState.PAUSED:
            return False
        # Not even at a start what ends the process: that would go on for ever
        # under something that starts it again.
        return not self._may_resume or row.attempted_position is not None

    def _say_owned(self, row: ProjectionTracking) -> None:
        if self._exclusive:
            raise LeaseHeldError(
                f"Projection {row.projection!r} is run by {row.owner or 'another'}"
            )
        if self._announce(
            "owned",
            "Standing by: projection=%s owner=%s",
            row.projection,
            row.owner,
        ):
            self._standing_by(row.owner)

    def _announce(self, what: str, message: str, *arguments: object) -> bool:
        """Log a line if it says something else than the one before."""
        if self._announced == what:
            return False
        self._announced = what
        logger.log(
            logging.INFO if what == "owned" else logging.WARNING, message, *arguments
        )
        return True


class ElsewhereCheck:
    """
    Tells whether whoever runs a projection has caught up.

    The events that count are those that are there when it is first asked.
    """

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._app: Application[Any] | None = None
        self._head: int | None = None

    def __call__(self) -> bool:
        """Ask the database, and the event store if need be."""
        if self._app is None:
            self._app = make_application(
                self._registration.application_class, self._registration.env()
            )
            self._head = self._app.recorder.max_notification_id()
        return is_caught_up(
            self._app,
            self._registration.projection_class.topics,
            self._registration.tracked().row().position,
            self._head,
        )

    def close(self) -> None:
        """Close the application, if there is one."""
        if self._app is not None:
            self._app.close()
            self._app = None
