"""
A build's record: beginning it, continuing it, aborting it, and what is left of it.

Tables cannot be made and dropped in a transaction everywhere. So the record names them
before they are made, and is there until they are dropped. Until a build has committed
its first batch, its tables count as half made. The next process does what is left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone

from django_esdb.applications.shared import make_application
from django_esdb.conf import settings
from django_esdb.exceptions import (
    ConfigurationError,
    LeaseHeldError,
    LeaseLostError,
    NothingToBuildError,
)
from django_esdb.leases.acquiring import acquire_lease, seize_lease
from django_esdb.leases.lease import Lease
from django_esdb.leases.process_identity import new_owner
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import (
    ProjectionLag,
    ProjectionState,
    ProjectionTracking,
    RebuildBeside,
)
from django_esdb.rebuilding.beginning import rebuilt_view
from django_esdb.rebuilding.beside.registration import tracked_build
from django_esdb.rebuilding.beside.tables import SecondSet, drop_tables, tables_there
from django_esdb.rebuilding.resetting import NOTHING_PROCESSED
from django_esdb.registry import Registration
from django_esdb.status.fingerprints import fingerprint
from django_esdb.subscriptions.positions import check_same_store


@dataclass(frozen=True)
class BuildBegun:
    """
    A build that has begun, or continues.

    Attributes:
        lease: Of who builds.
        target: Up to where it has to come now.
        goes_on: Whether it continues with what was broken off.
        record_id: Of the record of the build.
        was_outdated: Whether it begins again, since code or tables have changed.
    """

    lease: Lease
    target: int
    goes_on: bool
    record_id: int
    was_outdated: bool = False


def second_set(registration: Registration) -> SecondSet:
    """
    Return the second set of tables of a projection; nothing is made or asked.

    Raises:
        ConfigurationError: Its view keeps its position itself, or declares no rows, or
            a model's rows cannot be in a second table.
    """
    view = rebuilt_view(registration)
    return SecondSet(view.read_models, view.database())


def build_record(registration: Registration) -> RebuildBeside | None:
    """Return the record of a projection's build; None if nothing is there or left."""
    tracked = registration.tracked()
    return (
        RebuildBeside.objects.using(tracked.using)
        .filter(projection=tracked.projection, application=tracked.application)
        .first()
    )


def target_of(row: ProjectionTracking) -> int | None:
    """
    Return up to where a build has to come to take the place of a projection's rows.

    That is where these are, or will be when they have been rebuilt themselves.
    """
    ends = (row.position, row.replay_until if row.is_replaying else None)
    return max((each for each in ends if each is not None), default=None)


def require_target(registration: Registration) -> int:
    """
    Return up to where a build has to come now; asks the event store, too.

    Raises:
        NothingToBuildError: The projection has processed nothing.
        OtherStoreError: It has processed another store's events.
        PersistenceError: The event store cannot be used.
        django.db.Error: The database cannot be used.
    """
    tracked = registration.tracked()
    row = tracked.row()
    target = target_of(row)
    if target is None:
        msg = (
            f"{registration.name} has processed no event yet, so there is nothing to "
            "build next to: start runprojections"
        )
        raise NothingToBuildError(msg)
    app = make_application(registration.application_class, registration.env())
    with closing(app):
        check_same_store(app.recorder, row)
    return target


def begin_build(
    registration: Registration,
    second: SecondSet,
    owner: str,
    seconds: float,
    *,
    afresh: bool = False,
    record_id: int | None = None,
) -> BuildBegun:
    """
    Take a projection's build, and make its tables unless they are there.

    Args:
        registration: The projection.
        second: Its second set of tables.
        owner: As whom.
        seconds: How long the lease of the build lasts when it is not renewed; making
            the tables is taken to be done by then.
        afresh: Whether to begin again where a build was broken off.
        record_id: Of the build that the caller has begun before, to continue with that
            one only; None to continue with whichever is there, or begin one.

    Raises:
        LeaseHeldError: Another process builds it.
        LeaseLostError: Another process has taken over, or has aborted it.
        ConfigurationError: Tables of these names are there, and are not a build's.
        NothingToBuildError: The projection has processed nothing.
        django.db.Error: The database cannot be used, or refuses to make the tables.
    """
    build = tracked_build(registration)
    _require_same(registration, record_id)
    lease = acquire_lease(build, owner, seconds)
    if lease is None:
        row = build.row()
        msg = f"{registration.name} is being rebuilt by {row.owner or 'another'}"
        held = LeaseHeldError(msg)
        held.owner = row.owner
        raise held
    lease.is_build = True
    try:
        # Once more: a process that aborts it now has the lease.
        _require_same(registration, record_id)
        return _begin(registration, lease, second, afresh=afresh)
    except BaseException:
        with suppress(DatabaseError):
            lease.release(ProjectionState.STOPPED)
        raise


def _require_same(registration: Registration, record_id: int | None) -> None:
    """
    See that a build that was begun is still there.

    Raises:
        LeaseLostError: It was aborted. What it was made of is gone, or about to be, so
            that it is not to be begun again.
    """
    if record_id is None:
        return
    record = build_record(registration)
    if record is None or record.pk != record_id or record.ended_at is not None:
        msg = f"the rebuild of {registration.name} next to its rows was aborted"
        raise LeaseLostError(msg)


def _begin(
    registration: Registration, lease: Lease, second: SecondSet, *, afresh: bool
) -> BuildBegun:
    target = target_of(registration.tracked().row())
    if target is None:
        msg = f"{registration.name} has started over meanwhile"
        raise NothingToBuildError(msg)
    definition = _definition(registration, second)
    record = build_record(registration)
    is_usable = record is not None and record.ended_at is None and not afresh
    is_current = record is not None and record.definition == definition
    goes_on = is_usable and is_current and lease.tracked.row().position is not None
    if record is None or not goes_on:
        record = _start_over(registration, lease, record, definition, second)
    _update_mine(lease, replay_until=target)
    was_outdated = is_usable and not is_current
    return BuildBegun(lease, target, goes_on, record.pk, was_outdated)


def note_reached(registration: Registration, target: int) -> None:
    """
    Write down that a build has processed all up to its target, and is not run now.

    What is there between its last event and the target is not the projection's.
    """
    build = tracked_build(registration).queryset().filter(replay_until=target)
    build.unowned().advance(target)


def abort_build(registration: Registration) -> bool:
    """
    Drop what a build has made, also while it is under way, or finish dropping it.

    Waits for a batch of the build that is under way; it cannot commit any more then,
    and its process is told that another one has taken over.

    Returns:
        Whether there was a build.

    Raises:
        django.db.Error: The database cannot be used. Called again, it continues.
    """
    record = build_record(registration)
    if record is None:
        forget_unused(registration)
        return False
    if record.ended_at is None:
        build = tracked_build(registration)
        build.ensure_row()
        with build.locked():
            # Its owner's name tells the builder who has aborted it.
            seize_lease(
                build,
                build.row(),
                new_owner(),
                settings.ESDB_LEASE_SECONDS,
                state=ProjectionState.STOPPED,
            )
            RebuildBeside.objects.using(build.using).filter(pk=record.pk).update(
                ended_at=timezone.now()
            )
        record = build_record(registration)
    if record is not None:
        _clean_up(registration, record)
    return True


def finish_ended(registrations: Iterable[Registration]) -> Iterator[str]:
    """
    Drop what builds have left that have ended, and whose process was killed then.

    Yields:
        The names of the projections that these were of.

    Raises:
        django.db.Error: A database cannot be used.
    """
    for registration in registrations:
        try:
            record = build_record(registration)
        except ConfigurationError:
            # A check's to report.
            continue
        if record is not None and record.ended_at is not None:
            _clean_up(registration, record)
            yield registration.name


def forget_unused(registration: Registration) -> None:
    """
    Delete a row that a builder has made again after another process had aborted it.

    One that is owned is left to who owns it, who may have begun another build.

    Raises:
        django.db.Error: The database cannot be used.
    """
    if build_record(registration) is not None:
        return
    build = tracked_build(registration)
    with build.locked():
        is_unused = build_record(registration) is None
        if is_unused and build.queryset().unowned().exists():
            forget_build(build)


def forget_build(build: TrackedProjection) -> None:
    """Delete a build's own row and events, within a transaction."""
    row = build.queryset().first()
    build.delete_unprocessed()
    if row is not None:
        ProjectionLag.objects.using(build.using).filter(tracking_id=row.pk).delete()
        row.delete()


def _clean_up(registration: Registration, record: RebuildBeside) -> None:
    build = tracked_build(registration)
    drop_tables(build.using, record.tables)
    with transaction.atomic(using=build.using):
        forget_build(build)
        record.delete()


def _start_over(
    registration: Registration,
    lease: Lease,
    record: RebuildBeside | None,
    definition: str,
    second: SecondSet,
) -> RebuildBeside:
    build = lease.tracked
    if record is None:
        if there := tables_there(build.using, second.tables):
            msg = (
                f"{registration.name} cannot be rebuilt next to the rows in use: there "
                f"is a table {there[0]} already, which no build has made; drop or "
                "rename it"
            )
            raise ConfigurationError(msg)
        record = RebuildBeside(
            projection=registration.name, application=registration.application_name
        )
    former = record.tables
    # First of all, so that whatever is made later is known.
    with _mine(lease):
        record.tables = list(dict.fromkeys([*second.tables, *former]))
        record.definition = definition
        record.began_at, record.ended_at = timezone.now(), None
        record.save(using=build.using)
        build.delete_unprocessed()
        build.queryset().update(**NOTHING_PROCESSED)
    drop_tables(build.using, record.tables)
    second.create()
    try:
        with _mine(lease):
            record.tables = second.tables
            record.save(using=build.using)
    except LeaseLostError:
        known = build_record(registration)
        if known is None or known.ended_at is not None:
            # It was aborted meanwhile: no other process knows of them.
            drop_tables(build.using, second.tables)
        raise
    return record


def _definition(registration: Registration, second: SecondSet) -> str:
    text = f"{fingerprint(registration)}\n{second.definition()}"
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _mine(lease: Lease) -> Iterator[None]:
    """Hold a transaction with the lease, which is renewed."""
    with lease.tracked.locked():
        _update_mine(lease, leased_until=lease.expiry())
        yield


def _update_mine(lease: Lease, **changes: object) -> None:
    mine = lease.tracked.queryset().filter(token=lease.token)
    if not mine.update(**changes):
        msg = f"Another process has taken over, or aborted, {lease.tracked.projection}"
        raise LeaseLostError(msg)
