"""
The server as an object: start it, use it, stop it.

Threads: one of grpcio's polls the connections, and each open call has one of a pool.
`EmbeddedServer.stop` ends every call, which wakes the threads that wait on behalf of
one, and returns when all have ended.
"""

from __future__ import annotations

import os
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final

import grpc

from .appends import Writer
from .gossip import Gossip
from .log import Log
from .messages import (
    add_GossipServicer_to_server,
    add_PersistentSubscriptionsServicer_to_server,
    add_StreamsServicer_to_server,
)
from .persistent.groups import Groups
from .persistent.service import PersistentSubscriptions
from .reads import Reader
from .records import NO_STREAM, NewEvent
from .streams import Streams

# Each open call has a thread, and a subscription is an open call.
MAX_CALLS: Final = 1_000

_GRPC_OPTIONS = (
    # The real server's limit, 16 MiB less 10,000 bytes.
    ("grpc.max_receive_message_length", 16_767_216),
    ("grpc.max_send_message_length", -1),
    # A second server on the same port must fail, not share it.
    ("grpc.so_reuseport", 0),
    # Notices clients that vanished without a word. Clients may ping as they like.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10),
)

# The only event that shows in the log of a fresh server.
_FIRST_STREAM = "$$$scavenges"
_FIRST_METADATA = b'{\n  "$maxAge": 2592000,\n  "$acl": {\n    "$r": "$ops"\n  }\n}'


class ServerError(Exception):
    """
    The server cannot start; the message says why and what to do.
    """


class EmbeddedServer:
    """
    An EventStoreDB server inside this process, for development and for tests.

    It speaks EventStoreDB's protocol for one node and stores in SQLite. Production
    runs EventStoreDB itself. Several servers can run in one process.

    Args:
        host: The address to listen on; loopback unless told otherwise.
        port: The port to listen on; 0 takes a free one.
        data: The database file; None keeps everything in memory.
        advertise_host: The address that gossip tells clients; `host` by default.

    Attributes:
        host: The address that it listens on.
        port: The port that it listens on, once started.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        data: Path | str | None = None,
        advertise_host: str | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._data = None if data is None else Path(data)
        self._advertise_host = advertise_host or host
        self._log: Log | None = None
        self._server: grpc.Server | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._groups: Groups | None = None

    @property
    def target(self) -> str:
        """
        Host and port, as gRPC wants them.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def uri(self) -> str:
        """
        The URI for clients.
        """
        return f"esdb://{self.target}?Tls=false"

    def start(self) -> EmbeddedServer:
        """
        Start to serve; return when clients can connect.

        Returns:
            The server itself.

        Raises:
            DataFileError: The data file cannot be used.
            ServerError: It runs already, or the address is in use.
        """
        if self._server is not None:
            raise ServerError(f"The server at {self.target} runs already.")
        log = Log(self._data)
        try:
            self._serve(log)
        except BaseException:
            log.close()
            raise
        self._log = log
        return self

    def stop(self) -> None:
        """
        End all calls and close the data file; return when every thread has ended.

        Does nothing when the server does not run.
        """
        server, groups = self._server, self._groups
        executor, log = self._executor, self._log
        self._server = self._groups = self._executor = self._log = None
        if server is not None:
            server.stop(None).wait()
        if groups is not None:
            groups.stop()
        if executor is not None:
            executor.shutdown(wait=True)
        if log is not None:
            log.close()

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _serve(self, log: Log) -> None:
        writer = Writer(log)
        _write_first_event(log, writer)
        executor = ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="esdb-server")
        server = grpc.server(executor, options=_GRPC_OPTIONS)
        port = self._bind(server)
        reader = Reader(log)
        streams = Streams(reader, writer, executor.submit)
        add_StreamsServicer_to_server(streams, server)
        groups = Groups(reader, writer)
        add_PersistentSubscriptionsServicer_to_server(
            PersistentSubscriptions(groups, executor.submit), server
        )
        add_GossipServicer_to_server(Gossip(self._advertise_host, port), server)
        server.start()
        self.port = port
        self._server, self._executor, self._groups = server, executor, groups

    def _bind(self, server: grpc.Server) -> int:
        try:
            _check_address(self.host, self.port)
            port: int = server.add_insecure_port(self.target)
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or "the address is not free"
            raise ServerError(
                f"Cannot listen on {self.target}: {reason}. Stop what listens there, or"
                " choose another host or port."
            ) from error
        return port


def _check_address(host: str, port: int) -> None:
    """
    Bind a plain socket first: gRPC would write its own lines to standard error.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        if os.name == "posix":
            # As gRPC does: connections of an earlier server that linger do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def _write_first_event(log: Log, writer: Writer) -> None:
    if log.stream(_FIRST_STREAM) is None:
        event = NewEvent(uuid.uuid4().bytes, "$metadata", True, _FIRST_METADATA)
        writer.append(_FIRST_STREAM, NO_STREAM, [event])
