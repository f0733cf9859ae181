"""
The protocol's message classes and servicer bases.

They are esdbclient's own generated modules; nothing else in the server imports them,
so another source of them would change this module only.
"""

from __future__ import annotations

import grpc
from esdbclient.protos.Grpc import (
    code_pb2 as codes,
)
from esdbclient.protos.Grpc import (
    gossip_pb2 as gossip,
)
from esdbclient.protos.Grpc import (
    persistent_pb2 as persistent,
)
from esdbclient.protos.Grpc import (
    shared_pb2 as shared,
)
from esdbclient.protos.Grpc import (
    status_pb2 as status,
)
from esdbclient.protos.Grpc import (
    streams_pb2 as streams,
)
from esdbclient.protos.Grpc.gossip_pb2_grpc import (
    GossipServicer,
    add_GossipServicer_to_server,
)
from esdbclient.protos.Grpc.persistent_pb2_grpc import (
    PersistentSubscriptionsServicer,
    add_PersistentSubscriptionsServicer_to_server,
)
from esdbclient.protos.Grpc.streams_pb2_grpc import (
    StreamsServicer,
    add_StreamsServicer_to_server,
)

__all__ = [
    "GossipServicer",
    "PersistentSubscriptionsServicer",
    "StreamsServicer",
    "add_services",
    "codes",
    "gossip",
    "persistent",
    "shared",
    "status",
    "streams",
]


def add_services(
    server: grpc.Server,
    streams: StreamsServicer,
    persistent: PersistentSubscriptionsServicer,
    gossip: GossipServicer,
) -> None:
    """
    Let a server answer the calls of these services.
    """
    add_StreamsServicer_to_server(streams, server)  # type: ignore[no-untyped-call]
    add_PersistentSubscriptionsServicer_to_server(  # type: ignore[no-untyped-call]
        persistent, server
    )
    add_GossipServicer_to_server(gossip, server)  # type: ignore[no-untyped-call]
