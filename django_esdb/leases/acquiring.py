"""Becoming a projection's owner."""

from __future__ import annotations

from typing import Any

from django.db import connections, transaction

from django_esdb.db.functions import DatabaseTime
from django_esdb.db.guards import limit_idle_transactions
from django_esdb.db.vendors import can_skip_locked_rows
from django_esdb.leases.lease import FAILING, Lease, next_token
from django_esdb.leases.process_identity import is_gone
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import ProjectionState, ProjectionTracking


def acquire_lease(
    tracked: TrackedProjection, owner: str, seconds: float
) -> Lease | None:
    """
    Become a projection's owner, unless it has one; does not wait for that.

    Args:
        tracked: The projection.
        owner: As whom; each that competes has a name of its own.
        seconds: How long the lease lasts when it is not renewed.

    Returns:
        The lease, or None if another process has it or is in a transaction.
    """
    tracked.ensure_row()
    previous = tracked.queryset().unowned().first()
    if previous is None:
        previous = tracked.queryset().first()
        if previous is None or not is_gone(previous.owner):
            return None
    if not can_skip_locked_rows(connections[tracked.using]):
        return _take_over(tracked, previous, owner, seconds)
    with transaction.atomic(using=tracked.using):
        # Without this the update would wait behind the lock of an owner that is
        # suspended in its transaction.
        limit_idle_transactions(connections[tracked.using], seconds / 2)
        locked = tracked.queryset().select_for_update(skip_locked=True)
        if not locked.values_list("pk"):
            return None
        return _take_over(tracked, previous, owner, seconds)


def seize_lease(
    tracked: TrackedProjection,
    row: ProjectionTracking,
    owner: str,
    seconds: float,
    **changes: Any,
) -> Lease:
    """
    Become a projection's owner; the one that it has, if any, cannot commit any more.

    Within a transaction only, in which the projection's row is locked.

    Args:
        tracked: The projection.
        row: Its row.
        owner: As whom.
        seconds: How long the lease lasts when it is not renewed.
        changes: What else to set in the row.
    """
    lease = Lease(tracked=tracked, owner=owner, token=next_token(row), seconds=seconds)
    tracked.queryset().update(
        owner=owner, token=lease.token, leased_until=lease.expiry(), **changes
    )
    return lease


def _take_over(
    tracked: TrackedProjection,
    previous: ProjectionTracking,
    owner: str,
    seconds: float,
) -> Lease | None:
    token = next_token(previous)
    claimed = tracked.queryset().filter(token=previous.token)
    if not is_gone(previous.owner):
        # It may have been renewed in the meantime.
        claimed = claimed.unowned()
    if not claimed.update(owner=owner, token=token, leased_until=DatabaseTime(seconds)):
        return None
    # By hand: a process that tries again by itself has a name.
    was_resumed = previous.state == ProjectionState.RETRYING and not previous.owner
    return Lease(
        tracked=tracked,
        owner=owner,
        token=token,
        seconds=seconds,
        was_abandoned=bool(previous.owner),
        is_failing=previous.state in FAILING and not was_resumed,
        was_resumed=was_resumed,
        attempted_position=previous.attempted_position,
    )
