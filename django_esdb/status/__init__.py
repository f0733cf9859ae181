"""What projections are at."""

from __future__ import annotations

from django_esdb.status.status import ProjectionStatus, projection_statuses

__all__ = ["ProjectionStatus", "projection_statuses"]
