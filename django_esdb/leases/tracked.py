"""A projection as the database knows it: its row, and what has not been processed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import connections, models, transaction

from django_esdb.conf import settings
from django_esdb.db.guards import limit_idle_transactions
from django_esdb.leases.process_identity import is_gone
from django_esdb.models import (
    FailedEvent,
    ProjectionEventQuerySet,
    ProjectionTracking,
    ProjectionTrackingQuerySet,
    SkippedEvent,
    UnprocessedEvent,
)

_AFTER_HANGS_SECONDS = 10.0


@dataclass(frozen=True)
class TrackedProjection:
    """
    A projection of an application's events, as the database knows it.

    Attributes:
        using: Alias of the database that has the row.
        projection: The projection's name.
        application: The application's name.
    """

    using: str
    projection: str
    application: str

    def queryset(self) -> ProjectionTrackingQuerySet:
        """Return the one row, or none if there is none yet."""
        return ProjectionTracking.objects.using(self.using).of(
            self.projection, self.application
        )

    def ensure_row(self) -> None:
        """Make the row, if it is not there; idempotent."""
        if not self.queryset().exists():
            # Whichever process makes it first, it is the same row.
            ProjectionTracking.objects.using(self.using).get_or_create(
                projection=self.projection, application=self.application
            )

    def lock(self) -> None:
        """
        Wait for a runner's batch, and let none begin; within a transaction only.

        The transaction ends if its process is suspended in it, or does something else
        than talking to the database for longer than an event may take.
        """
        # Who looks whether an event hangs comes first.
        limit = settings.ESDB_EVENT_SECONDS + _AFTER_HANGS_SECONDS
        limit_idle_transactions(connections[self.using], limit)
        # A write, so that SQLite takes its lock at once, where it waits.
        self.queryset().update(token=models.F("token"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a transaction in which no runner has a batch; see :meth:`lock`."""
        with transaction.atomic(using=self.using):
            # First of all, for SQLite.
            self.lock()
            yield

    def unprocessed(self, model: type[UnprocessedEvent]) -> ProjectionEventQuerySet:
        """Return the projection's events of a kind, such as the skipped ones."""
        kept: ProjectionEventQuerySet = model._default_manager.using(self.using)  # type: ignore[assignment]
        return kept.of(self.projection, self.application)

    def delete_unprocessed(self) -> Counter[str]:
        """Delete the projection's failed and skipped events; return how many."""
        deleted: Counter[str] = Counter()
        for kept in (FailedEvent, SkippedEvent):
            deleted.update(self.unprocessed(kept).delete()[1])
        return deleted

    def has_live_owner(self, row: ProjectionTracking) -> bool:
        """Return whether a process has the lease that is not known to be gone."""
        return not self.queryset().unowned().exists() and not is_gone(row.owner)

    def row(self) -> ProjectionTracking:
        """Return the row; it is made if it is not there."""
        found = self.queryset().first()
        if found is None:
            self.ensure_row()
            found = self.queryset().get()
        return found
