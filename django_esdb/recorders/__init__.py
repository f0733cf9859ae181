"""Views in the ORM: rows and position in one transaction."""

from __future__ import annotations

from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.recorders.rows.rows import Rows

__all__ = ["DjangoTrackingRecorder", "Rows"]
