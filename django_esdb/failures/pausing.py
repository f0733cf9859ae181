"""Pausing a projection by hand, also while a process runs it."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from django_esdb.failures.audit import Audit
from django_esdb.failures.resuming import resume
from django_esdb.leases.lease import next_token
from django_esdb.models import BY_HAND, ProjectionState
from django_esdb.registry import Registration

PAUSED_BY_HAND = "paused by hand"


def pause_projection(registration: Registration, audit: Audit | None = None) -> bool:
    """
    Pause a projection until it is resumed by hand, in one transaction.

    Waits for a batch that is under way. The owner, if there is one, cannot commit any
    more from then on, and stands by when it next renews its lease. Neither a restart
    nor other code resumes it. One that is paused since an event has failed is paused
    by hand afterwards, with its error.

    Args:
        registration: The projection; it need not have run.
        audit: Notes what is done.

    Returns:
        Whether it was not paused by hand before.

    Raises:
        django.db.Error: The database cannot be used. Nothing is changed.
    """
    tracked = registration.tracked()
    tracked.ensure_row()
    with tracked.locked():
        row = tracked.row()
        if row.is_paused_by_hand:
            return False
        tracked.queryset().update(
            token=next_token(row),
            owner="",
            leased_until=None,
            state=ProjectionState.PAUSED,
            state_since=timezone.now(),
            error=row.error or PAUSED_BY_HAND,
            paused_by=BY_HAND,
        )
        (audit or Audit()).paused()
    return True


def resume_projection(registration: Registration, audit: Audit | None = None) -> bool:
    """
    Resume a paused projection, in one transaction; failed events stay where they are.

    A process that stands by for it notices. The event at which it was paused is tried
    again, with the code of that process.

    Args:
        registration: The projection.
        audit: Notes what is done.

    Returns:
        Whether it was paused.

    Raises:
        django.db.Error: The database cannot be used. Nothing is changed.
    """
    tracked = registration.tracked()
    with transaction.atomic(using=tracked.using):
        was_paused = resume(tracked)
        if was_paused:
            (audit or Audit()).resumed()
    return was_paused
