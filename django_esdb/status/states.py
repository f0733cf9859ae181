"""What a row of the tracking table says that its projection is at."""

from __future__ import annotations

from datetime import datetime

from django.db import connections

from django_esdb.db.functions import local_time
from django_esdb.leases.process_identity import is_gone
from django_esdb.models import OWNED_STATES, ProjectionState, ProjectionTracking
from django_esdb.status.advice import LOST


def state_of(row: ProjectionTracking, is_owned: bool) -> str:
    """Return a :class:`ProjectionState`, or ``lost``; *is_owned* is what a lease is."""
    has_owner = is_owned and not is_gone(row.owner)
    if row.state == ProjectionState.RETRYING and not row.owner:
        # It was paused, and the next process to run it tries again.
        return ProjectionState.STOPPED.value
    if row.state in OWNED_STATES:
        return str(row.state) if has_owner else LOST
    if row.state == ProjectionState.PAUSED and has_owner:
        # It was restarted, and is at the event that failed.
        return ProjectionState.RETRYING.value
    return str(row.state)


def since_of(row: ProjectionTracking, state: str, is_owned: bool) -> datetime | None:
    """Return since when it is at that; None if that is not known."""
    if state != LOST:
        return row.state_since
    # Of a process that is gone it is not known when it ended.
    return None if is_owned else leased_until(row)


def leased_until(row: ProjectionTracking) -> datetime | None:
    """Return until when its lease is, as other times are shown."""
    return local_time(connections[str(row._state.db)], row.leased_until)
