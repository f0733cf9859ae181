"""Which servers there are, and how to speak to them."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

import grpc

ChannelOptions = tuple[tuple[str, str | int], ...]


@dataclass(frozen=True, kw_only=True)
class Access:
    """
    Which servers there are, and how to speak to them.

    Attributes:
        targets: ``host:port`` for each server named.
        resolves_names: Whether the one target's name stands for several nodes.
        node_preference: ``leader``, ``follower``, ``random`` or ``readonlyreplica``.
        max_discover_attempts: How often to look for a node of a cluster.
        discovery_interval: Seconds between these.
        gossip_timeout: Seconds in which a node has to say who the others are.
        connection_name: What the connection is called in the server.
        default_deadline: Seconds that a save may take; None for this package's own.
        channel_options: Options of the channel, beyond this package's own.
        channel_credentials: How TLS is spoken; None for no TLS.
        call_credentials: Who calls; None for no user.
        call_metadata: What else is sent with each call: who calls, where that is sent
            without TLS.
    """

    targets: tuple[str, ...]
    resolves_names: bool
    node_preference: str
    max_discover_attempts: int
    discovery_interval: float
    gossip_timeout: float
    connection_name: str
    default_deadline: float | None
    channel_options: ChannelOptions
    channel_credentials: grpc.ChannelCredentials | None
    call_credentials: grpc.CallCredentials | None
    call_metadata: tuple[tuple[str, str], ...] = ()

    @property
    def is_cluster(self) -> bool:
        """Whether one of several nodes is looked for."""
        return self.resolves_names or len(self.targets) > 1

    @property
    def pings(self) -> bool:
        """Whether connections are pinged: by default where another node could help."""
        return self.is_cluster or bool(self.channel_options)

    @property
    def node(self) -> str:
        """What is looked for, in a word for messages."""
        names = {"random": "node", "readonlyreplica": "read-only replica"}
        return names.get(self.node_preference, self.node_preference)

    @property
    def addresses(self) -> str:
        """The servers that are named, for messages; a host is told once in a row."""
        shown, before = [], ""
        for target in self.targets:
            host, _, port = target.rpartition(":")
            shown.append(f":{port}" if host == before else target)
            before = host
        return ", ".join(shown)


def authorization(username: str, password: str) -> tuple[str, str]:
    """Return the header that says who calls; characters may be any."""
    encoded = b64encode(f"{username}:{password}".encode()).decode()
    return "authorization", f"Basic {encoded}"


class BasicAuthentication(grpc.AuthMetadataPlugin):  # type: ignore[misc]
    """A user name and a password of any characters, sent with each call."""

    def __init__(self, username: str, password: str) -> None:
        self._metadata = (authorization(username, password),)

    def __call__(
        self,
        context: grpc.AuthMetadataContext,
        callback: grpc.AuthMetadataPluginCallback,
    ) -> None:
        callback(self._metadata, None)
