"""
The one place where clients of EventStoreDB are made.

A process has one client for each set of connection settings, shared by all who
ask for it and closed when the last of them is gone. A gRPC channel must not be
open while the process forks: it is closed before, and on both sides clients
connect anew when they are next used.
"""

from __future__ import annotations

import atexit
import os
import threading
from dataclasses import dataclass

import grpc
import grpc.experimental
from esdbclient import EventStoreDBClient
from esdbclient.common import BasicAuthCallCredentials
from esdbclient.connection import ESDBConnection

from eventsourcing_eventstoredb.connection_settings import ConnectionSettings
from eventsourcing_eventstoredb.protocol.forking import before_fork, gate

_CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    # One thread fewer between the socket and the reader of a stream: it reads
    # several times as fast, and stopping and deadlines work as before.
    (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
    # gRPC pauses for up to two minutes between attempts to connect, in which
    # every call fails at once, though the server may be back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Otherwise a pause begun by some other channel to the address would hold.
    ("grpc.use_local_subchannel_pool", 1),
)


class Client(EventStoreDBClient):
    """An esdbclient client for *settings*, with credentials of any characters."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._process_id = os.getpid()
        self._is_disconnected = False
        super().__init__(
            settings.client_uri, root_certificates=settings.root_certificates
        )

    @property
    def _connection(self) -> ESDBConnection:
        """The connection, which after a fork is a new one."""
        if self._needs_connection() and not self._is_closed:
            # In this order, since who holds the lock may have to pass the gate.
            with gate.inside(), _connect_lock:
                if self._needs_connection():
                    self._begin_anew()
        return self._own_connection

    @_connection.setter
    def _connection(self, connection: ESDBConnection) -> None:
        self._own_connection = connection

    def _needs_connection(self) -> bool:
        return self._is_disconnected or self._process_id != os.getpid()

    def _begin_anew(self) -> None:
        if not self._is_disconnected:
            _abandoned.append(self._own_connection)
        if self._process_id != os.getpid():
            # Whoever held it is a thread of the parent.
            self._reconnection_lock = threading.Lock()
            self._is_reconnection_required = threading.Event()
        self._own_connection = self._connect()
        self._process_id = os.getpid()
        self._is_disconnected = False

    def disconnect(self) -> None:
        """Close the connection, and have the next use open another one."""
        if not self._is_closed and not self._needs_connection():
            self._is_disconnected = True
            self._own_connection.close()

    def close(self) -> None:
        """Close the connection, unless it is that of the process this was forked by."""
        if self._is_closed:
            # Also when the interpreter has all but ended, and modules are gone.
            return
        if not self._needs_connection():
            super().close()
            return
        if not self._is_disconnected:
            _abandoned.append(self._own_connection)
        self._is_closed = True

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
_connect_lock = threading.Lock()
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


@atexit.register
def _close_at_exit() -> None:
    # Applications need not be closed; a client that is collected when modules
    # are gone by then would print a traceback for each channel.
    with _lock:
        clients = [shared.client for shared in _shared.values()]
        _shared.clear()
    for client in clients:
        client.close()


def _disconnect_all() -> None:
    # Not under the lock, which another thread may hold while it looks for a
    # cluster's members.
    for shared in tuple(_shared.values()):
        shared.client.disconnect()


def _unlock_after_fork() -> None:
    global _lock, _connect_lock
    _lock = threading.Lock()
    _connect_lock = threading.Lock()


# What was still in use when the process was forked. Closing it in the child, or
# letting it be collected there, would reach into the parent's channels.
_abandoned: list[ESDBConnection] = []
before_fork(_disconnect_all)
os.register_at_fork(after_in_child=_unlock_after_fork)
