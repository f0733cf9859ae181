"""Applications of the ``eventsourcing`` library in a Django process."""

from __future__ import annotations

from django_esdb.applications.repositories import SharedRepository
from django_esdb.applications.shared import (
    close_applications,
    get_application,
    make_application,
)

__all__ = [
    "SharedRepository",
    "close_applications",
    "get_application",
    "make_application",
]
