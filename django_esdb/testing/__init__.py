"""
For users' own tests: event stores, events, times and projections as tests need them.

Import it when Django is set up, since it loads models: test modules may, and a
``conftest.py`` names ``django_esdb.pytest_plugin``.
"""

from __future__ import annotations

from django_esdb.testing.completeness import assert_projection_complete
from django_esdb.testing.determinism import (
    FixedClock,
    fixed_clock,
    fixed_ids,
    numbered_id,
)
from django_esdb.testing.event_factories import EventFactory
from django_esdb.testing.event_stores import (
    embedded_event_store,
    memory_event_store,
    recorded_events,
)
from django_esdb.testing.memory import MemoryEventStore
from django_esdb.testing.mixins import (
    EmbeddedEventStoreMixin,
    FixedClockMixin,
    FixedIdsMixin,
    MemoryEventStoreMixin,
)
from django_esdb.testing.projecting import project
from django_esdb.testing.running import running_projections
from django_esdb.testing.scenarios import given

__all__ = [
    "EmbeddedEventStoreMixin",
    "EventFactory",
    "FixedClock",
    "FixedClockMixin",
    "FixedIdsMixin",
    "MemoryEventStore",
    "MemoryEventStoreMixin",
    "assert_projection_complete",
    "embedded_event_store",
    "fixed_clock",
    "fixed_ids",
    "given",
    "memory_event_store",
    "numbered_id",
    "project",
    "recorded_events",
    "running_projections",
]
