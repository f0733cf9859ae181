"""Channels to EventStoreDB's servers, and what goes with each call over them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc
import grpc.experimental

from eventsourcing_eventstoredb.protocol.access import Access, ChannelOptions
from eventsourcing_eventstoredb.protocol.generated import GossipStub, StreamsStub

_CHANNEL_OPTIONS: ChannelOptions = (
    # The largest event and what belongs to it.
    ("grpc.max_receive_message_length", 17 * 1024 * 1024),
    # One thread fewer between the socket and the reader of a stream: it reads
    # several times as fast, and stopping and deadlines work as before.
    (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
    # gRPC pauses for up to two minutes between attempts to connect, in which
    # every call fails at once, though the server may be back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Otherwise a pause begun by some other channel to the address would hold.
    ("grpc.use_local_subchannel_pool", 1),
    # With gRPC's own retries the first call after a server was stopped in order may
    # hang, beyond its deadline and for good.
    ("grpc.enable_retries", 0),
)

# Without these gRPC waits a minute for a ping's answer, whatever it is asked for
# otherwise, and pings no more when it has sent two and no data.
_PING_OPTIONS: ChannelOptions = (
    ("grpc.keepalive_time_ms", 2000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.http2.ping_timeout_ms", 3000),
    ("grpc.http2.max_pings_without_data", 0),
)


class Connection:
    """
    A channel to one server, and the calls over it.

    Attributes:
        target: The server's ``host:port``.
        channel: The channel, which connects when it is used.
        streams: The calls about streams.
        gossip: The calls about the cluster.
        companions: What to call before the channel is closed.
        lock: Guards what is made once for this connection.
        long_call: What sends batches over it; see :mod:`batching`.
        is_closed: Whether the channel was closed, or is about to be.
        is_of_cluster: Whether another node could answer instead.
    """

    def __init__(
        self, access: Access, target: str, options: ChannelOptions = ()
    ) -> None:
        self.target = target
        self.is_closed = False
        self.is_of_cluster = access.is_cluster
        self.channel = _open_channel(access, target, options)
        self.streams = StreamsStub(self.channel)  # type: ignore[no-untyped-call]
        self.gossip = GossipStub(self.channel)  # type: ignore[no-untyped-call]
        self.companions: list[Callable[[], None]] = []
        # Reentrant, as the connector's.
        self.lock = threading.RLock()
        self.long_call: Any = None
        self._credentials = access.call_credentials
        name = ("connection-name", access.connection_name)
        prefers_leader = access.node_preference == "leader"
        common = (name, *access.call_metadata)
        self._metadata = (*common, ("requires-leader", str(prefers_leader).lower()))
        self._leader_metadata = (*common, ("requires-leader", "true"))

    def arguments(
        self, timeout: float | None, *, requires_leader: bool = False
    ) -> dict[str, Any]:
        """
        Return what goes with each call.

        Args:
            timeout: Seconds that the call may take; None for no limit.
            requires_leader: Whether only the leader can answer it.
        """
        return {
            "timeout": timeout,
            "metadata": self._leader_metadata if requires_leader else self._metadata,
            "credentials": self._credentials,
        }

    def close(self) -> None:
        """Close the channel, which breaks off the calls over it."""
        self.is_closed = True
        for close in tuple(self.companions):
            close()
        self.channel.close()


def _open_channel(access: Access, target: str, options: ChannelOptions) -> grpc.Channel:
    pings = _PING_OPTIONS if access.pings else ()
    # What is named by the address takes the place of this package's own.
    every = dict((*_CHANNEL_OPTIONS, *pings, *access.channel_options, *options))
    options = tuple(every.items())
    if access.channel_credentials is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, access.channel_credentials, options=options)
