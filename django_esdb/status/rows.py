"""The rows that tell what projections are at: one query for each database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import DatabaseError, router, transaction
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce

from django_esdb.exceptions import ViewDatabaseError
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import (
    FailedEvent,
    ProjectionTracking,
    ProjectionTrackingQuerySet,
    RebuildBeside,
    SkippedEvent,
    build_name,
)
from django_esdb.registered_names import BESIDE
from django_esdb.registry import Registration, registry


def with_details(
    rows: ProjectionTrackingQuerySet,
) -> ProjectionTrackingQuerySet:
    """
    Add ``is_owned``, by the database's clock, and counts of events to rows.

    Also when a rebuild next to the projection's rows began and ended, if there is one.
    """
    builds = RebuildBeside.objects.filter(
        projection=OuterRef("projection"), application=OuterRef("application")
    )
    return (
        rows.with_ownership()
        .select_related("lag")
        .annotate(
            failed_count=_count(FailedEvent),
            waiting_count=_count(FailedEvent, error_kind=""),
            skipped_count=_count(SkippedEvent),
            build_began_at=Subquery(builds.values("began_at")),
            build_ended_at=Subquery(builds.values("ended_at")),
        )
    )


def _count(model: type[FailedEvent | SkippedEvent], **conditions: Any) -> Coalesce:
    """Return how many rows a model has of a tracking row's projection."""
    counts = (
        model.objects.of(OuterRef("projection"), OuterRef("application"))  # type: ignore[arg-type]
        .filter(**conditions)
        .order_by()
        .values("projection")
        .annotate(count=Count("pk"))
        .values("count")
    )
    return Coalesce(Subquery(counts), 0)


def registration_of(row: ProjectionTracking | FailedEvent) -> Registration | None:
    """Return the registered projection that a row is of; None if there is none."""
    if not registry.is_registered(row.projection):
        return None
    registration = registry.get(row.projection)
    # A row may have been read from a replica.
    aliases = {row._state.db, router.db_for_write(type(row), instance=row)}
    tracked = tracked_of(registration)
    if tracked is None or tracked.application != row.application:
        return None
    return registration if tracked.using in aliases else None


def unregistered_rows() -> list[ProjectionTracking]:
    """
    Return the rows of projections that no code is registered for.

    Only of those that have processed something, or have put events aside.

    Raises:
        django.db.Error: A database cannot be used.
    """
    known = {tracked for each in registry if (tracked := tracked_of(each)) is not None}
    aliases = {tracked.using for tracked in known}
    rows = [row for alias in sorted(aliases) for row in rows_in(alias) if is_used(row)]
    rows += rows_elsewhere(aliases)
    return [row for row in rows if key_of(row) not in known]


def rows_in(alias: str) -> list[ProjectionTracking]:
    """
    Return all projections' rows of a database, with details.

    Those of rebuilds next to rows in use are not among them, but each one's attribute
    ``build_row``, which is None without such a row.
    """
    rows: Any = ProjectionTracking.objects.using(alias)
    found: list[Any] = list(with_details(rows.all()))
    by_name = {(row.projection, row.application): row for row in found}
    for row in found:
        row.build_row = by_name.get((build_name(row.projection), row.application))
    return [row for row in found if not row.projection.endswith(BESIDE)]


def is_used(row: Any) -> bool:
    """Return whether its projection has processed something, or put events aside."""
    return row.position is not None or row.failed_count > 0


def key_of(row: ProjectionTracking) -> TrackedProjection:
    """Return of what a row is the row."""
    return TrackedProjection(str(row._state.db), row.projection, row.application)


def rows_elsewhere(aliases: set[str]) -> list[ProjectionTracking]:
    """Return the used rows where the tracking model is written, if not in *aliases*."""
    default = router.db_for_write(ProjectionTracking)
    if default in aliases:
        return []
    try:
        # The app's migrations need not be applied there.
        with transaction.atomic(using=default):
            return [row for row in rows_in(default) if is_used(row)]
    except DatabaseError:
        return []


def counts_without_row(
    tracked: Iterable[TrackedProjection],
) -> dict[TrackedProjection, tuple[int, int, int]]:
    """Count failed, waiting and skipped events of those that have no row."""
    counts = {}
    for each in tracked:
        failed, waiting, skipped = (
            rows.using(each.using).of(each.projection, each.application).count()
            for rows in (
                FailedEvent.objects.all(),
                FailedEvent.objects.filter(error_kind=""),
                SkippedEvent.objects.all(),
            )
        )
        counts[each] = failed, waiting, skipped
    return counts


def tracked_of(registration: Registration) -> TrackedProjection | None:
    """Return where a projection is tracked, None if that cannot be told."""
    try:
        return registration.tracked()
    except ViewDatabaseError:
        # A check's to report.
        return None
