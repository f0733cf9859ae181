"""
What this package uses of the client library: its client, and its generated code.

The messages' classes and the services' stubs are those that the library was generated
with. Nothing else in this package, apart from the server, imports the library, so that
another one would change this module, and the names of options in :mod:`clients`. Two
such libraries cannot be loaded in one process.
"""

from __future__ import annotations

from esdbclient import EventStoreDBClient
from esdbclient.client import BaseEventStoreDBClient
from esdbclient.connection import ESDBConnection
from esdbclient.exceptions import DiscoveryFailed
from esdbclient.gossip import GossipService
from esdbclient.persistent import PersistentSubscriptionsService
from esdbclient.projections import ProjectionsService
from esdbclient.protos.Grpc import gossip_pb2 as gossip
from esdbclient.protos.Grpc import shared_pb2 as shared
from esdbclient.protos.Grpc import streams_pb2 as streams
from esdbclient.protos.Grpc.gossip_pb2_grpc import GossipStub
from esdbclient.protos.Grpc.streams_pb2_grpc import StreamsStub
from esdbclient.streams import StreamsService

__all__ = [
    "BaseEventStoreDBClient",
    "DiscoveryFailed",
    "ESDBConnection",
    "EventStoreDBClient",
    "GossipService",
    "GossipStub",
    "PersistentSubscriptionsService",
    "ProjectionsService",
    "StreamsService",
    "StreamsStub",
    "gossip",
    "shared",
    "streams",
]
