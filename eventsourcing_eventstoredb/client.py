"""
The one place where clients of EventStoreDB are made.

A process has one client for each set of connection settings, shared by all who
ask for it and closed when the last of them is gone. A gRPC channel cannot be
used on the far side of a fork, so a child process gets clients of its own.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

import grpc
import grpc.experimental
from esdbclient import EventStoreDBClient
from esdbclient.common import BasicAuthCallCredentials

from eventsourcing_eventstoredb.connection import ConnectionSettings

# One thread fewer between the socket and the reader of a stream: it reads
# several times as fast, and stopping and deadlines work as before.
_CHANNEL_OPTIONS = ((grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),)


class Client(EventStoreDBClient):
    """An esdbclient client for *settings*, with credentials of any characters."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        super().__init__(
            settings.client_uri, root_certificates=settings.root_certificates
        )

    def construct_call_credentials(
        self, username: str | None, password: str | None
    ) -> grpc.CallCredentials | None:
        if not self._settings.tls:
            return None
        return grpc.metadata_call_credentials(
            BasicAuthCallCredentials(self._settings.username, self._settings.password)
        )

    def _construct_grpc_channel(
        self, grpc_target: str, grpc_options: tuple[tuple[str, str | int], ...] = ()
    ) -> grpc.Channel:
        options = dict(self._settings.options)
        # esdbclient sends the interval under a name that gRPC does not know.
        keep_alive = (
            (("grpc.keepalive_time_ms", int(options["KeepAliveInterval"])),)
            if "KeepAliveInterval" in options
            else ()
        )
        return super()._construct_grpc_channel(
            grpc_target, grpc_options + keep_alive + _CHANNEL_OPTIONS
        )


@dataclass
class _Shared:
    client: Client
    users: int = 0


_lock = threading.Lock()
_shared: dict[ConnectionSettings, _Shared] = {}


def acquire_client(settings: ConnectionSettings) -> Client:
    """
    Return this process's client for *settings*, making it if need be.

    Each call must be answered by one of :func:`release_client`. With several
    hosts, making the client asks them for the cluster's members and so blocks;
    with one host nothing is sent.

    Raises:
        esdbclient.exceptions.DiscoveryFailed: No host answered.
    """
    with _lock:
        shared = _shared.get(settings)
        if shared is None:
            shared = _shared[settings] = _Shared(Client(settings))
        shared.users += 1
        return shared.client


def release_client(settings: ConnectionSettings) -> None:
    """Give up one use of the client for *settings*; the last one closes it."""
    with _lock:
        shared = _shared.get(settings)
        if shared is None:
            return
        shared.users -= 1
        if shared.users > 0:
            return
        del _shared[settings]
    shared.client.close()


def _forget_after_fork() -> None:
    # The parent still uses these clients: closing them here would reach into
    # its channels, so they are only kept out of sight.
    global _lock, _shared
    _abandoned.append(_shared)
    _lock, _shared = threading.Lock(), {}


_abandoned: list[dict[ConnectionSettings, _Shared]] = []
os.register_at_fork(after_in_child=_forget_after_fork)
