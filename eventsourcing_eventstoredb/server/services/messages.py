"""
The protocol's message classes and services.

They are the generated modules of the client library that the process uses, whichever
that is: what is sent has no field that only one of them knows. Nothing else in the
server imports them.

The services are registered here, not by the generated functions: those let grpcio parse
the requests, and a request that it cannot parse leaves a call behind that never ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from eventsourcing_eventstoredb import client_library
from eventsourcing_eventstoredb.server.errors import InvalidArgumentError

if TYPE_CHECKING or client_library.choose() == client_library.ESDBCLIENT:
    from esdbclient.protos.Grpc import code_pb2 as codes
    from esdbclient.protos.Grpc import gossip_pb2 as gossip
    from esdbclient.protos.Grpc import persistent_pb2 as persistent
    from esdbclient.protos.Grpc import shared_pb2 as shared
    from esdbclient.protos.Grpc import status_pb2 as status
    from esdbclient.protos.Grpc import streams_pb2 as streams
    from esdbclient.protos.Grpc.gossip_pb2_grpc import GossipServicer
    from esdbclient.protos.Grpc.persistent_pb2_grpc import (
        PersistentSubscriptionsServicer,
    )
    from esdbclient.protos.Grpc.streams_pb2_grpc import StreamsServicer
else:
    from kurrentdbclient.protos.google.rpc import code_pb2 as codes
    from kurrentdbclient.protos.v1 import gossip_pb2 as gossip
    from kurrentdbclient.protos.v1 import persistent_pb2 as persistent
    from kurrentdbclient.protos.v1 import shared_pb2 as shared
    from kurrentdbclient.protos.v1 import status_pb2 as status
    from kurrentdbclient.protos.v1 import streams_pb2 as streams
    from kurrentdbclient.protos.v1.gossip_pb2_grpc import GossipServicer
    from kurrentdbclient.protos.v1.persistent_pb2_grpc import (
        PersistentSubscriptionsServicer,
    )
    from kurrentdbclient.protos.v1.streams_pb2_grpc import StreamsServicer

__all__ = [
    "GossipServicer",
    "PersistentSubscriptionsServicer",
    "StreamsServicer",
    "codes",
    "gossip",
    "method_handlers",
    "persistent",
    "shared",
    "status",
    "streams",
]

_SERVICES = (
    (StreamsServicer, streams.DESCRIPTOR.services_by_name["Streams"]),
    (
        PersistentSubscriptionsServicer,
        persistent.DESCRIPTOR.services_by_name["PersistentSubscriptions"],
    ),
    (GossipServicer, gossip.DESCRIPTOR.services_by_name["Gossip"]),
)


def method_handlers(servicer: object) -> grpc.GenericRpcHandler:
    """
    Make what a server needs to answer the calls of a service.

    Args:
        servicer: An instance of one of the servicer classes.
    """
    service = next(
        descriptor for base, descriptor in _SERVICES if isinstance(servicer, base)
    )
    return grpc.method_handlers_generic_handler(
        service.full_name,
        {
            method.name: _method_handler(method, getattr(servicer, method.name))
            for method in service.methods
        },
    )


def _method_handler(method: Any, behaviour: Callable[..., Any]) -> Any:
    parse = GetMessageClass(method.input_type).FromString
    serialize = GetMessageClass(method.output_type).SerializeToString

    def parse_or_keep(body: bytes) -> Any:
        try:
            return parse(body)
        except DecodeError as error:
            # To be raised where it can be answered; see the head of this module.
            return InvalidArgumentError(
                f"The request is no {method.input_type.full_name}: {error}."
            )

    makers = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    make = makers[method.client_streaming, method.server_streaming]
    checked = _checking_requests if method.client_streaming else _checking_request
    return make(checked(behaviour), parse_or_keep, serialize)


def _checking_request(behaviour: Callable[..., Any]) -> Callable[..., Any]:
    def check(request: Any, context: grpc.ServicerContext) -> Any:
        if isinstance(request, InvalidArgumentError):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, request.details)
        return behaviour(request, context)

    return check


def _checking_requests(behaviour: Callable[..., Any]) -> Callable[..., Any]:
    def check(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        return behaviour(CheckedRequests(requests), context)

    return check


class CheckedRequests(Iterator[Any]):
    """
    The requests of a call, of which one that cannot be parsed is raised as an error.

    Attributes:
        unchecked: What grpcio has, where it is among the others.
    """

    def __init__(self, unchecked: Iterator[Any]) -> None:
        self.unchecked = unchecked

    def __next__(self) -> Any:
        request = next(self.unchecked)
        if isinstance(request, InvalidArgumentError):
            raise request
        return request
