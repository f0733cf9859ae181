"""Resuming a paused projection, and whether a process does so."""

from __future__ import annotations

from time import monotonic, sleep

from django.utils import timezone

from django_esdb.leases.lease import NOTHING_ATTEMPTED
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import ProjectionState

# Who stands by looks every half second.
TAKEOVER_SECONDS = 2.0

_POLL_SECONDS = 0.1


def resume(tracked: TrackedProjection) -> bool:
    """
    Resume a paused projection; a process that stands by for it notices.

    Why it was paused stays in its row until an event is processed.

    Returns:
        Whether it was paused.
    """
    return bool(
        tracked.queryset()
        .filter(state=ProjectionState.PAUSED)
        .update(
            # Of no owner: no process tries it again yet.
            state=ProjectionState.RETRYING,
            state_since=timezone.now(),
            attempts=0,
            skipped_in_a_row=0,
            **NOTHING_ATTEMPTED,
        )
    )


def is_run(tracked: TrackedProjection, seconds: float = 0.0) -> bool:
    """
    Return whether a process runs a projection; waits for one that takes over.

    Args:
        tracked: The projection.
        seconds: How long to wait; 0 to ask once.
    """
    end = monotonic() + seconds
    before = tracked.row().token
    while True:
        row = tracked.row()
        # It may be paused again by now, and have no owner.
        if row.token != before or tracked.has_live_owner(row):
            return True
        if monotonic() >= end:
            return False
        sleep(_POLL_SECONDS)
