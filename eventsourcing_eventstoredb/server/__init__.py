"""An embedded server that speaks EventStoreDB's protocol, for development and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventsourcing_eventstoredb.server.exceptions import ServerError
from eventsourcing_eventstoredb.server.storage.database import DataFileError

if TYPE_CHECKING:
    from eventsourcing_eventstoredb.server.embedded import EmbeddedServer

__all__ = ["DataFileError", "EmbeddedServer", "ServerError"]


def __getattr__(name: str) -> Any:
    if name != "EmbeddedServer":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    # Loads the client library, and may fail for that: commands say so in one line.
    from eventsourcing_eventstoredb.server.embedded import EmbeddedServer

    return EmbeddedServer
