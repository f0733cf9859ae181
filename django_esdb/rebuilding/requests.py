"""
Rebuilds that are asked for, and carried out by the process that runs the projection.

A page asks in its request, which takes one transaction; the worker finds it out when it
renews its lease, or before it runs the projection next.
"""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from django_esdb.failures.resuming import resume
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.rebuilding.beginning import rebuilt_view
from django_esdb.registry import Registration


def request_rebuild(registration: Registration, user: str = "") -> bool:
    """
    Have a projection rebuilt in the background; returns at once.

    Only a note is made, in the projection's tracking row. The process that runs the
    projection carries it out within a third of ``ESDB_LEASE_SECONDS``, after the batch
    that it is at; where none runs it, the next one that does. Until then the rows stay
    as they are. Then, in one transaction, the rows of the view's ``read_models`` are
    deleted, with failed and skipped events and the position, and the projection starts
    over. A paused one is resumed.
    :func:`~django_esdb.failures.resuming.is_run` tells whether a process runs it,
    :func:`~django_esdb.rebuilding.resetting.what_is_made` how many rows will be
    deleted, and ``ProjectionTracking.is_replaying`` that the rebuild is under way.

    Args:
        registration: The projection.
        user: Key of who asks for it, as text; kept until it is carried out.

    Returns:
        Whether it had not been requested before.

    Raises:
        ConfigurationError: The view keeps its position itself, so that it cannot be
            rebuilt, or declares no ``read_models``, so that its rows are not known.
        django.db.Error: The database cannot be used.
    """
    rebuilt_view(registration)
    tracked = registration.tracked()
    tracked.ensure_row()
    with transaction.atomic(using=tracked.using):
        asked = tracked.queryset().filter(rebuild_requested_at=None)
        is_new = bool(
            asked.update(rebuild_requested_at=timezone.now(), rebuild_requested_by=user)
        )
        resume(tracked)
    return is_new


def cancel_rebuild(registration: Registration) -> bool:
    """
    Take back what :func:`request_rebuild` has asked for.

    Returns:
        Whether it was not yet carried out.

    Raises:
        django.db.Error: The database cannot be used.
    """
    asked = registration.tracked().queryset().exclude(rebuild_requested_at=None)
    return bool(asked.update(rebuild_requested_at=None, rebuild_requested_by=""))


def is_requested(tracked: TrackedProjection) -> bool:
    """Return whether a rebuild is asked for and not yet begun."""
    return tracked.queryset().exclude(rebuild_requested_at=None).exists()
