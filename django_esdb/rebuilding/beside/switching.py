"""
The transaction in which a build takes the place of the rows in use.

Tables stay, and with them all that others have made for them: foreign keys, grants,
views, triggers. Their rows become those of the second set: what differs is deleted, and
what is missing inserted. Readers see the old rows until the commit, and the new ones
from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.utils import timezone

from django_esdb.db.exchanging import Exchange, exchange_rows
from django_esdb.exceptions import (
    BuildBehindError,
    LeaseLostError,
)
from django_esdb.leases.lease import (
    NOTHING_ATTEMPTED,
    Lease,
    next_token,
)
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import (
    OWNED_STATES,
    FailedEvent,
    ProjectionLag,
    ProjectionState,
    ProjectionTracking,
    RebuildBeside,
    SkippedEvent,
)
from django_esdb.rebuilding.beside.building import build_record, target_of
from django_esdb.rebuilding.beside.registration import tracked_build
from django_esdb.rebuilding.beside.tables import SecondSet
from django_esdb.rebuilding.holding import hold_lease
from django_esdb.registry import Registration
from django_esdb.status.fingerprints import fingerprint

_MOVED = ("position", "updated_at", "event_position", "event_id", "event_time")


@dataclass(frozen=True)
class Held:
    """
    A projection that stands still, with its rows, for a switch.

    Attributes:
        lease: Of who switches; it has to be renewed.
        target: Up to where the build has to come.
    """

    lease: Lease
    target: int
    changes: dict[str, Any]


@dataclass(frozen=True)
class Switched:
    """
    A build that has taken the place of the rows in use.

    Attributes:
        deleted: How many rows were deleted, since they differed or are no more.
        inserted: How many were inserted.
        events: How many events the rows come from.
    """

    deleted: int
    inserted: int
    events: int


def hold(registration: Registration) -> Held:
    """
    Take a projection from its owner, which stands by; its position stays.

    Waits for a batch that is under way.

    Raises:
        LeaseHeldError: It is being rebuilt as a whole.
        BuildBehindError: It has started over meanwhile.
        django.db.Error: The database cannot be used.
    """
    tracked = registration.tracked()
    with tracked.locked():
        row = tracked.row()
        lease = hold_lease(tracked, row)
        target = target_of(row)
        if target is None:
            msg = f"{registration.name} has started over meanwhile"
            raise BuildBehindError(msg)
    # As it is found, unless it is switched.
    was = {"state": row.state, "error": row.error, "traceback": row.traceback}
    return Held(lease, target, was)


def give_back(held: Held) -> None:
    """Let others run a projection that was held; does nothing where it was switched."""
    state = held.changes["state"]
    if state in OWNED_STATES:
        held.lease.release(ProjectionState.STOPPED)
    else:
        mine = held.lease.tracked.queryset().filter(token=held.lease.token)
        mine.update(owner="", leased_until=None)


def switch(registration: Registration, second: SecondSet, held: Held) -> Switched:
    """
    Make the rows in use those of the build, with its position, in one transaction.

    The second set is left to be dropped.

    Args:
        registration: The projection.
        second: Its second set of tables, to which no model is redirected.
        held: The projection, which stands still.

    Raises:
        LeaseLostError: Another process runs the projection, or builds it.
        BuildBehindError: The build has not come as far as the rows in use.
        django.db.IntegrityError: Other rows refer to rows that the build does not have.
        django.db.Error: The database cannot be used. Nothing is changed.
    """
    tracked, build = registration.tracked(), tracked_build(registration)
    with tracked.locked():
        row = tracked.row()
        if row.token != held.lease.token:
            raise held.lease.lost()
        build.lock()
        built = build.queryset().first()
        record = build_record(registration)
        if built is None or record is None or record.ended_at is not None:
            msg = f"The rebuild of {registration.name} was aborted"
            raise LeaseLostError(msg)
        if build.has_live_owner(built):
            msg = f"{registration.name} is being rebuilt by {built.owner}"
            raise LeaseLostError(msg)
        target = target_of(row)
        if target is None or built.position != target:
            msg = (
                f"The rebuild of {registration.name} is at position {built.position}, "
                f"and the rows in use are of {target}"
            )
            raise BuildBehindError(msg)
        deleted, inserted = exchange_rows(
            connections[tracked.using],
            [
                Exchange(model, second.first_names[model], second.names[model])
                for model in second.models
            ],
        )
        _move_events(tracked, build)
        tracked.queryset().update(**_changes(registration, row, built, target))
        ProjectionLag.objects.using(tracked.using).filter(tracking_id=row.pk).delete()
        # What it has made is not its own any more.
        build.queryset().update(owner="", leased_until=None, token=next_token(built))
        RebuildBeside.objects.using(tracked.using).filter(pk=record.pk).update(
            ended_at=timezone.now()
        )
    return Switched(deleted, inserted, built.processed)


def _move_events(tracked: TrackedProjection, build: TrackedProjection) -> None:
    tracked.delete_unprocessed()
    for kept in (FailedEvent, SkippedEvent):
        build.unprocessed(kept).update(projection=tracked.projection)


def _changes(
    registration: Registration,
    row: ProjectionTracking,
    built: ProjectionTracking,
    target: int,
) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "owner": "",
        "leased_until": None,
        "token": next_token(row),
        "fingerprint": fingerprint(registration),
        "processed": built.processed,
        # Whatever the build has processed had its effects before.
        "replay_until": target,
        "rebuild_requested_at": None,
        "rebuild_requested_by": "",
        **NOTHING_ATTEMPTED,
        "skipped_in_a_row": built.skipped_in_a_row,
    }
    if row.position is None or (built.position or 0) > row.position:
        # It was being rebuilt itself.
        changes |= {name: getattr(built, name) for name in _MOVED}
    if not row.is_paused_by_hand:
        # What has stopped it may be what the code of now can do.
        changes |= {
            "state": ProjectionState.STOPPED,
            "state_since": timezone.now(),
            "error": "",
            "traceback": "",
            "attempts": 0,
            "paused_by": "",
        }
    return changes
