"""What the app itself keeps in the database, besides users' read models."""

from __future__ import annotations

from django_esdb.models.building import (
    RebuildBeside,
    build_name,
)
from django_esdb.models.measuring import (
    SAMPLES,
    ProjectionLag,
    ProjectionSample,
)
from django_esdb.models.stored_events import (
    StoredEvent,
)
from django_esdb.models.tracking import (
    BY_HAND,
    OWNED_STATES,
    ProjectionState,
    ProjectionTracking,
    ProjectionTrackingQuerySet,
)
from django_esdb.models.unprocessed import (
    FailedEvent,
    FailedEventQuerySet,
    ProjectionEventQuerySet,
    SkippedEvent,
    UnprocessedEvent,
)

__all__ = [
    "BY_HAND",
    "OWNED_STATES",
    "SAMPLES",
    "FailedEvent",
    "FailedEventQuerySet",
    "ProjectionEventQuerySet",
    "ProjectionLag",
    "ProjectionSample",
    "ProjectionState",
    "ProjectionTracking",
    "ProjectionTrackingQuerySet",
    "RebuildBeside",
    "SkippedEvent",
    "StoredEvent",
    "UnprocessedEvent",
    "build_name",
]
