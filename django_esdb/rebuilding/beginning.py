"""
The transaction with which a rebuild begins.

All that a projection has made is deleted in it, and its position taken back, by who has
the projection's lease from then on. Whatever happens later, the row says that events
are to be processed from the first one: any process continues with that.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass

from django_esdb.applications.shared import make_application
from django_esdb.exceptions import ConfigurationError
from django_esdb.leases.acquiring import seize_lease
from django_esdb.leases.lease import Lease
from django_esdb.models import ProjectionState, ProjectionTracking
from django_esdb.rebuilding.resetting import clear, replayed_until, view_class
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration
from django_esdb.status.fingerprints import fingerprint
from django_esdb.subscriptions.positions import check_same_store


@dataclass(frozen=True)
class Begun:
    """
    A rebuild that has begun, or continues.

    Attributes:
        lease: Of who rebuilds.
        until: The last position that is part of it; None if there were no events.
        rows: How many rows were deleted, by the model's label; None if none were, since
            it continues with a rebuild that was broken off.
    """

    lease: Lease
    until: int | None
    rows: Counter[str] | None


def rebuilt_view(registration: Registration) -> type[DjangoTrackingRecorder]:
    """
    Return the class of the view that a rebuild would empty.

    Raises:
        ConfigurationError: The view keeps its position itself, or declares no rows.
    """
    found = view_class(registration)
    if not found.read_models:
        msg = (
            f"{found.__name__} does not say which rows are its own, so "
            f"{registration.name} cannot be rebuilt: give it read_models, a tuple of "
            "the models that it writes"
        )
        raise ConfigurationError(msg)
    return found


def head_of(registration: Registration) -> int | None:
    """
    Return where the application's events end now, None if there is none.

    Raises:
        OtherStoreError: It is not the store that the projection's events are of.
        eventsourcing.persistence.PersistenceError: The event store cannot be used.
    """
    app = make_application(registration.application_class, registration.env())
    with closing(app):
        check_same_store(app.recorder, registration.tracked().row())
        # Not all modules say None where there is nothing.
        return app.recorder.max_notification_id() or None


def goes_on(registration: Registration, row: ProjectionTracking | None) -> bool:
    """Return whether a rebuild with the code of today is under way or broken off."""
    if row is None or row.rebuild_requested_at is not None:
        return False
    return row.is_replaying and row.fingerprint == fingerprint(registration)


def take_over(
    registration: Registration, owner: str, seconds: float, *, afresh: bool = False
) -> Begun:
    """
    Take a projection from its owner, and begin to rebuild it.

    Waits for a batch that is under way. Its owner, if it has one, cannot commit any
    more, and stands by.

    Args:
        registration: The projection.
        owner: As whom.
        seconds: How long the lease lasts when it is not renewed.
        afresh: Whether to begin again where a rebuild was broken off.

    Raises:
        ConfigurationError: It cannot be rebuilt.
        OtherStoreError: It has processed another store's events.
        PersistenceError: The event store cannot be used.
        django.db.Error: The database cannot be used, or refuses since other rows refer
            to the read models'. Nothing is changed.
    """
    rebuilt_view(registration)
    tracked = registration.tracked()
    tracked.ensure_row()
    # Nothing waits for the event store within the transaction.
    head = head_of(registration)
    with tracked.locked():
        row = tracked.row()
        rows: Counter[str] | None = None
        if afresh or not goes_on(registration, row):
            until = replayed_until(row, head)
            rows = clear(registration, row, replay_until=until)
            tracked.queryset().update(fingerprint=fingerprint(registration))
        else:
            until = row.replay_until
        # At last, since deleting may have taken longer than the lease lasts.
        lease = seize_lease(
            tracked,
            row,
            owner,
            seconds,
            state=ProjectionState.RUNNING,
            error="",
            traceback="",
        )
    return Begun(lease, until, rows)


def begin_again(registration: Registration, lease: Lease) -> Begun | None:
    """
    Begin the rebuild that was requested, with the lease at hand.

    Returns:
        None if the request was withdrawn.

    Raises:
        LeaseLostError: Another process has taken over.
        ConfigurationError: It cannot be rebuilt any more.
        OtherStoreError: It has processed another store's events.
        PersistenceError: The event store cannot be used.
        django.db.Error: As for :func:`take_over`.
    """
    tracked = lease.tracked
    rebuilt_view(registration)
    head = head_of(registration)
    with tracked.locked():
        row = tracked.row()
        if row.token != lease.token:
            raise lease.lost()
        if row.rebuild_requested_at is None:
            return None
        until = replayed_until(row, head)
        rows = clear(
            registration, row, replay_until=until, state=ProjectionState.RUNNING
        )
        tracked.queryset().update(
            fingerprint=fingerprint(registration), leased_until=lease.expiry()
        )
    lease.is_failing = lease.was_resumed = lease.was_abandoned = False
    lease.attempted_position = None
    return Begun(lease, until, rows)
