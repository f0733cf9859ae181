"""Getting the lease of a projection, and whether that is needed at all."""

from __future__ import annotations

from typing import Any

from eventsourcing.application import Application

from django_esdb.applications import make_application
from django_esdb.conf import settings
from django_esdb.exceptions import LeaseHeldError, ProjectionPausedError
from django_esdb.leases.lease import Lease, acquire_lease
from django_esdb.leases.process_identity import new_owner
from django_esdb.models import ProjectionState, ProjectionTracking
from django_esdb.registry import Registration
from django_esdb.status.fingerprints import fingerprint
from django_esdb.subscriptions.positions import is_caught_up


class Standby:
    """
    Asks for the lease of a projection.

    Args:
        registration: The projection.
    """

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._tracked = registration.tracked()
        self._owner = new_owner()
        # A process is started to have what was paused tried again; what is
        # paused later, also by others, stays so.
        self._may_resume = True

    def acquire(self) -> Lease:
        """
        Return the lease, if it can be had now; does not wait for it.

        Raises:
            LeaseHeldError: Another process has it.
            ProjectionPausedError: The projection is paused.
            django.db.Error: The database cannot be used.
        """
        row = self._tracked.row()
        if self._is_paused(row):
            self._may_resume = False
            raise ProjectionPausedError(row.error)
        lease = acquire_lease(self._tracked, self._owner, settings.ESDB_LEASE_SECONDS)
        self._may_resume = False
        if lease is None:
            raise self._held()
        return lease

    def _is_paused(self, row: ProjectionTracking) -> bool:
        if row.state != ProjectionState.PAUSED:
            return False
        gave_up = row.pausing_fingerprints()
        if gave_up and fingerprint(self._registration) not in gave_up:
            # Other code has paused it, as in a deployment, and each may try once.
            return False
        # Not even at a start what ends the process: that would repeat for ever
        # under something that starts it again.
        return not self._may_resume or row.attempted_position is not None

    def _held(self) -> LeaseHeldError:
        row = self._tracked.row()
        error = LeaseHeldError(
            f"Projection {row.projection!r} is run by {row.owner or 'another'}"
        )
        error.owner = row.owner
        return error


class ElsewhereCheck:
    """
    Tells whether a projection's owner has caught up.

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
            self._registration.topics,
            self._registration.tracked().row().position,
            self._head,
        )

    def close(self) -> None:
        """Close the application, if there is one."""
        if self._app is not None:
            self._app.close()
            self._app = None
