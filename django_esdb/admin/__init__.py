"""Admin pages: of the app's own tables, and the base for those of read models."""

from __future__ import annotations

from django_esdb.admin.failed_events import FailedEventAdmin
from django_esdb.admin.projections import ProjectionTrackingAdmin
from django_esdb.admin.read_models import ReadModelAdmin
from django_esdb.admin.skipped_events import SkippedEventAdmin
from django_esdb.admin.stored_events import StoredEventAdmin

__all__ = [
    "FailedEventAdmin",
    "ProjectionTrackingAdmin",
    "ReadModelAdmin",
    "SkippedEventAdmin",
    "StoredEventAdmin",
]
