"""Recorders of stored events in EventStoreDB streams."""

from __future__ import annotations

from eventsourcing_eventstoredb.recorders.aggregates import (
    EventStoreDBAggregateRecorder,
)
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)

__all__ = ["EventStoreDBAggregateRecorder", "EventStoreDBApplicationRecorder"]
