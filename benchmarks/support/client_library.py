"""The client library that is measured with, under the older one's names."""

from __future__ import annotations

from eventsourcing_eventstoredb import client_library

NAME = client_library.choose()

if NAME == client_library.ESDBCLIENT:
    from esdbclient import EventStoreDBClient, NewEvent, StreamState
    from esdbclient.protos.Grpc import shared_pb2, streams_pb2, streams_pb2_grpc
else:
    from kurrentdbclient import KurrentDBClient as EventStoreDBClient
    from kurrentdbclient import NewEvent, StreamState
    from kurrentdbclient.protos.v1 import shared_pb2, streams_pb2, streams_pb2_grpc

__all__ = [
    "NAME",
    "EventStoreDBClient",
    "NewEvent",
    "StreamState",
    "shared_pb2",
    "streams_pb2",
    "streams_pb2_grpc",
]
