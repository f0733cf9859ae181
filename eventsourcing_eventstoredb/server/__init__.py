"""
An embedded server that speaks EventStoreDB's protocol, for development and tests.
"""

from __future__ import annotations

from .database import DataFileError
from .embedded import EmbeddedServer, ServerError

__all__ = ["DataFileError", "EmbeddedServer", "ServerError"]
