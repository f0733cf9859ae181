"""
EventStoreDB's protocol over gRPC: requests, calls, errors and connections.

Nothing else in this package, apart from the server, knows the client library or gRPC.
"""

from __future__ import annotations
