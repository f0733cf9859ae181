"""
What this package uses of the client library: its client, and its generated code.

The messages' classes and the services' stubs are those that the library was generated
with. Nothing else in this package, apart from the server, imports a client library;
which one it is, :mod:`~eventsourcing_eventstoredb.client_library` says. What the
younger one names differently has the older one's name here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from eventsourcing_eventstoredb import client_library

if TYPE_CHECKING or client_library.choose() == client_library.ESDBCLIENT:
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
else:
    from kurrentdbclient import KurrentDBClient as EventStoreDBClient
    from kurrentdbclient.client import BaseKurrentDBClient as BaseEventStoreDBClient
    from kurrentdbclient.connection import KurrentDBConnection as ESDBConnection
    from kurrentdbclient.exceptions import DiscoveryFailedError as DiscoveryFailed
    from kurrentdbclient.gossip import GossipService
    from kurrentdbclient.persistent import PersistentSubscriptionsService
    from kurrentdbclient.projections import ProjectionsService
    from kurrentdbclient.protos.v1 import gossip_pb2 as gossip
    from kurrentdbclient.protos.v1 import shared_pb2 as shared
    from kurrentdbclient.protos.v1 import streams_pb2 as streams
    from kurrentdbclient.protos.v1.gossip_pb2_grpc import GossipStub
    from kurrentdbclient.protos.v1.streams_pb2_grpc import StreamsStub
    from kurrentdbclient.streams import StreamsService

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
    "option",
    "shared",
    "streams",
]


def option(client: BaseEventStoreDBClient, name: str) -> Any:
    """
    Return what a client's connection string says, or the client's default.

    Args:
        client: Any client of the library.
        name: As it is documented for connection strings, such as ``GossipTimeout``.
    """
    options = client.connection_spec.options
    if hasattr(options, name):
        return getattr(options, name)
    return getattr(options, re.sub("(?<!^)(?=[A-Z])", "_", name).lower())
