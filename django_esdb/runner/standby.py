"""Getting the lease of a projection, and whether that is needed at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventsourcing.application import Application

from django_esdb.applications.shared import make_application
from django_esdb.conf import settings
from django_esdb.exceptions import LeaseHeldError, ProjectionPausedError
from django_esdb.leases.acquiring import acquire_lease
from django_esdb.leases.lease import Lease
from django_esdb.leases.process_identity import is_gone, is_rebuilder, new_owner
from django_esdb.leases.shared_look import SharedLook
from django_esdb.models import ProjectionState, ProjectionTracking
from django_esdb.registry import Registration
from django_esdb.runner.term import Goal
from django_esdb.status.fingerprints import fingerprint
from django_esdb.subscriptions.positions import is_caught_up


class Standby:
    """
    Asks for the lease of a projection.

    Args:
        registration: The projection.
        look: Reads its row while it waits, with those of others.
        take_over: Takes the lease, the first time, from its owner, as the owner
            that it is called with; None to wait until it is free.
    """

    def __init__(
        self,
        registration: Registration,
        look: SharedLook,
        take_over: Callable[[str], Lease] | None = None,
    ) -> None:
        self._take_over = take_over
        self._registration = registration
        self._tracked = registration.tracked()
        self._look = look
        self._owner = new_owner(rebuilds=take_over is not None)
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
        if self._take_over is not None:
            lease = self._take_over(self._owner)
            self._take_over = None
            return lease
        row: Any = self._look.row(self._tracked)
        may_resume, self._may_resume = self._may_resume, False
        if self._is_paused(row, may_resume=may_resume):
            raise ProjectionPausedError(row.error)
        if row.is_owned and not is_gone(row.owner):
            raise _held(row)
        acquired = acquire_lease(
            self._tracked, self._owner, settings.ESDB_LEASE_SECONDS
        )
        if acquired is None:
            raise _held(self._tracked.row())
        self._look.forget(self._tracked)
        return acquired

    def _is_paused(self, row: ProjectionTracking, *, may_resume: bool) -> bool:
        if row.state != ProjectionState.PAUSED:
            return False
        if row.is_paused_by_hand:
            # A deployment or a restart is no reason to continue.
            return True
        gave_up = row.pausing_fingerprints()
        if gave_up and fingerprint(self._registration) not in gave_up:
            # Other code has paused it, as in a deployment, and each may try once.
            return False
        # Not even at a start what ends the process: that would repeat for ever
        # under something that starts it again.
        return not may_resume or row.attempted_position is not None


def _held(row: ProjectionTracking) -> LeaseHeldError:
    error = LeaseHeldError(
        f"Projection {row.projection!r} is run by {row.owner or 'another'}"
    )
    error.owner = row.owner
    # Whose name is not committed yet is known at the next look.
    error.is_rebuild = not row.owner or is_rebuilder(row.owner)
    return error


class ElsewhereCheck:
    """
    Tells whether a projection's owner has caught up.

    Args:
        registration: The projection.
        look: Reads its row, with those of others.
        goal: Which events count.
    """

    def __init__(
        self, registration: Registration, look: SharedLook, goal: Goal
    ) -> None:
        self._registration = registration
        self._look = look
        self._goal = goal
        self._app: Application[Any] | None = None

    def __call__(self) -> bool:
        """Ask the database, and the event store if need be."""
        if self._app is None:
            self._app = make_application(
                self._registration.application_class, self._registration.env()
            )
        return is_caught_up(
            self._app,
            self._registration.topics,
            self._look.row(self._registration.tracked()).position,
            self._goal.of(self._app),
        )

    def close(self) -> None:
        """Close the application, if there is one."""
        if self._app is not None:
            self._app.close()
            self._app = None
