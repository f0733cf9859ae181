"""An embedded server that speaks EventStoreDB's protocol, for development and tests."""

from __future__ import annotations

from eventsourcing_eventstoredb.server.database import DataFileError
from eventsourcing_eventstoredb.server.embedded import EmbeddedServer, ServerError

__all__ = ["DataFileError", "EmbeddedServer", "ServerError"]
