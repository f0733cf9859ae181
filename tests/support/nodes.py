"""Nodes that say of a cluster what a test wants, and can do nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from tests.support.client_library import (
    gossip_pb2,
    gossip_pb2_grpc,
)

State = gossip_pb2.MemberInfo.VNodeState
Member = tuple[Any, str]


def cluster_info(members: Sequence[Member]) -> Any:
    """Return what gossip says; see :class:`Node` for the members."""
    return gossip_pb2.ClusterInfo(
        members=[
            gossip_pb2.MemberInfo(
                state=state,
                is_alive=not address.startswith("-"),
                http_end_point=gossip_pb2.EndPoint(
                    address=address.strip("-").partition(":")[0],
                    port=int(address.partition(":")[2]),
                ),
            )
            for state, address in members
        ]
    )


class Refused(Exception):  # noqa: N818  it is what is answered
    """Ends a read with a code and details."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class Node(gossip_pb2_grpc.GossipServicer, grpc.GenericRpcHandler):
    """
    A node of a cluster.

    Attributes:
        address: Its ``host:port``.
        members: What it says that the nodes are; the address of one that is not
            alive begins with a minus sign.
        asked: How often it was asked for them.
        refusal: What it answers to any call about streams: code, details, trailers.
        read: If it is there, what answers reads: gets the request, returns messages,
            which may be followed by a refusal.
        is_held: While it is clear, it does not say what the nodes are.
    """

    def __init__(self) -> None:
        self.address = ""
        self.members: Sequence[Member] = ()
        self.asked = 0
        self.refusal: tuple[grpc.StatusCode, str, dict[str, str]] = (
            grpc.StatusCode.UNIMPLEMENTED,
            "",
            {},
        )
        self.read: Callable[[bytes], Iterable[bytes]] | None = None
        self.is_held = threading.Event()
        self.is_held.set()

    def Read(self, request: object, context: grpc.ServicerContext) -> Any:
        self.asked += 1
        self.is_held.wait(60)
        return cluster_info(self.members)

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if "streams.Streams" not in call.method:
            return None

        def refuse(requests: object, context: grpc.ServicerContext) -> Iterator[bytes]:
            code, details, trailers = self.refusal
            context.set_trailing_metadata(tuple(trailers.items()))
            context.abort(code, details)
            yield b""

        def answer(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            assert self.read is not None
            try:
                yield from self.read(request)
            except Refused as error:
                context.abort(error.code, error.details)

        if self.read is not None and call.method.endswith("/Read"):
            return grpc.unary_stream_rpc_method_handler(answer)
        return grpc.stream_stream_rpc_method_handler(refuse)


@contextmanager
def node() -> Iterator[Node]:
    """Run a node until the block ends."""
    this = Node()
    server = grpc.server(ThreadPoolExecutor(16))
    gossip_pb2_grpc.add_GossipServicer_to_server(this, server)
    server.add_generic_rpc_handlers((this,))
    this.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield this
    finally:
        this.is_held.set()
        server.stop(None).wait()
