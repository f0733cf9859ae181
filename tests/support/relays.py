"""A server that answers reads as another one does, and says otherwise how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc

from tests.support.client_library import streams_pb2
from tests.support.nodes import Node, node

_READ = "/event_store.client.streams.Streams/Read"
_EDGES = ("checkpoint", "caught_up", "fell_behind")


class Relay:
    """
    Hands on what a server answers to reads, and to subscriptions all but its edges.

    Args:
        this: What answers.
        channel: To the server.

    Attributes:
        told: What subscriptions are told in place of checkpoints and edges: the first
            list after the confirmation, each further one after one more event.
    """

    def __init__(self, this: Node, channel: grpc.Channel) -> None:
        self.told: Sequence[Sequence[bytes]] = ()
        self.uri = f"esdb://{this.address}?Tls=false"
        self._read = channel.unary_stream(_READ)
        this.read = self._answer

    def _answer(self, body: bytes) -> Iterator[bytes]:
        request = streams_pb2.ReadReq.FromString(body).options
        call = self._read(body)
        try:
            if request.WhichOneof("count_option") == "subscription":
                yield from self._retold(call)
            else:
                yield from call
        except grpc.RpcError:
            # The server is stopped, or the test is over.
            return
        finally:
            call.cancel()

    def _retold(self, call: Iterator[bytes]) -> Iterator[bytes]:
        told = iter(self.told)
        for message in call:
            kind = streams_pb2.ReadResp.FromString(message).WhichOneof("content")
            if kind not in _EDGES:
                yield message
                yield from next(told, ())


@contextmanager
def relay(target: str) -> Iterator[Relay]:
    """Relay a server, ``host:port``, until the block ends."""
    with grpc.insecure_channel(target) as channel, node() as this:
        yield Relay(this, channel)
