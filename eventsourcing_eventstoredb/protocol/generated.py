"""
The classes of EventStoreDB's messages, and the stubs of its services.

They are the client library's own generated modules, and nothing else in this package
imports those: another client library would change this module, :mod:`clients` and
no other. Two such libraries cannot be loaded in one process.
"""

from __future__ import annotations

from esdbclient.protos.Grpc import gossip_pb2 as gossip
from esdbclient.protos.Grpc import shared_pb2 as shared
from esdbclient.protos.Grpc import streams_pb2 as streams
from esdbclient.protos.Grpc.gossip_pb2_grpc import GossipStub
from esdbclient.protos.Grpc.streams_pb2_grpc import StreamsStub

__all__ = ["GossipStub", "StreamsStub", "gossip", "shared", "streams"]
