"""
Event sourcing with EventStoreDB in Django projects.

Importing this package loads no models and no gRPC.
"""

from __future__ import annotations

from django_esdb.applications import get_application
from django_esdb.registry import register_projection
from django_esdb.waiting import wait_for

__all__ = ["get_application", "register_projection", "wait_for"]
