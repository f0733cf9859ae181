"""
EventStoreDB persistence for the Python ``eventsourcing`` library.

Set ``PERSISTENCE_MODULE`` to ``eventsourcing_eventstoredb``. The library looks
for exactly one factory class in this namespace, so no other is imported here,
and importing it must stay cheap: gRPC is loaded when a recorder is made.
"""

from __future__ import annotations

from eventsourcing_eventstoredb.deadlines import store_deadline
from eventsourcing_eventstoredb.factory import EventStoreDBFactory
from eventsourcing_eventstoredb.metadata import event_metadata
from eventsourcing_eventstoredb.version import __version__

__all__ = ["EventStoreDBFactory", "__version__", "event_metadata", "store_deadline"]
