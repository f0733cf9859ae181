"""
Event sourcing with EventStoreDB in Django projects.

Importing this package loads no models and no gRPC.
"""

from __future__ import annotations

from django_esdb.applications.shared import asave, get_application
from django_esdb.registry import register_projection
from django_esdb.waiting import async_wait_for, wait_for
from eventsourcing_eventstoredb.metadata import event_metadata
from eventsourcing_eventstoredb.version import __version__

__all__ = [
    "__version__",
    "asave",
    "async_wait_for",
    "event_metadata",
    "get_application",
    "register_projection",
    "wait_for",
]
