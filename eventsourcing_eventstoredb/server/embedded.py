"""
The server as an object: start it, use it, stop it.

Threads: one of grpcio's polls the connections, and each open call has one of a pool.
`EmbeddedServer.stop` ends every call, which wakes the threads that wait on behalf of
one, and returns when all have ended.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from eventsourcing_eventstoredb.server.certificates import (
    CertificateError,
    load_credentials,
)
from eventsourcing_eventstoredb.server.engine.append_size import MAX_APPEND_BYTES
from eventsourcing_eventstoredb.server.engine.appends import Writer
from eventsourcing_eventstoredb.server.engine.reads import Reader
from eventsourcing_eventstoredb.server.exceptions import ServerError
from eventsourcing_eventstoredb.server.persistent.groups import Groups
from eventsourcing_eventstoredb.server.persistent.service import PersistentSubscriptions
from eventsourcing_eventstoredb.server.port_owner import port_owner
from eventsourcing_eventstoredb.server.services.access import Users
from eventsourcing_eventstoredb.server.services.calls import Calls
from eventsourcing_eventstoredb.server.services.gossip import Gossip
from eventsourcing_eventstoredb.server.services.messages import method_handlers
from eventsourcing_eventstoredb.server.services.streams import Streams
from eventsourcing_eventstoredb.server.storage.log import Log
from eventsourcing_eventstoredb.server.storage.records import (
    METADATA_TYPE,
    NO_STREAM,
    NewEvent,
)

logger = logging.getLogger(__name__)

# Each open call has a thread, and a subscription is an open call.
MAX_CALLS: Final = 1_000

# Calls that end when they are asked to need far less; those that wait for their client
# are cut off after this time.
STOP_SECONDS: Final = 0.1

# How often, and with which pauses, to cut off what is left after that.
STOP_ATTEMPTS: Final = 10
STOP_ATTEMPT_SECONDS: Final = 1.0

GRPC_OPTIONS: Final = (
    # The real server's limit, 16 MiB less 10,000 bytes.
    ("grpc.max_receive_message_length", 16_767_216),
    ("grpc.max_send_message_length", -1),
    # Identity alone: a message is decompressed before anything asks who sent it.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    # A second server on the same port must fail, not share it.
    ("grpc.so_reuseport", 0),
    # Notices clients that vanished silently. Clients may ping as they like.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10),
)

# The only event that shows in the log of a fresh server.
_FIRST_STREAM = "$$$scavenges"
_FIRST_METADATA = b'{"$maxAge":2592000,"$acl":{"$r":"$ops"}}'


# As EventStoreDB advertises itself in its own examples for one machine.
_LOOPBACK_NAMES = {"127.0.0.1": "localhost", "::1": "localhost"}


@dataclass(frozen=True, slots=True)
class _Running:
    """The parts of a server that runs."""

    log: Log
    groups: Groups
    calls: Calls
    executor: ThreadPoolExecutor
    server: grpc.Server

    def finish(self) -> None:
        """Close the connections, wait for the threads, and close the log."""
        # Not at once: a call that a client starts at the very moment when a server cuts
        # all calls off can be lost inside gRPC, and then never ends.
        stopped = self.server.stop(STOP_SECONDS)
        for _ in range(STOP_ATTEMPTS):
            if stopped.wait(STOP_ATTEMPT_SECONDS):
                break
            # Cuts off again, with what came in between.
            self.server.stop(None)
        else:
            logger.error("A call does not end; the server stops without it.")
        self.groups.stop()
        # A thread that is left belongs to a call that cannot be reached any more.
        self.executor.shutdown(wait=stopped.is_set())
        self.log.close()


class EmbeddedServer:
    """
    An EventStoreDB server inside this process, for development and for tests.

    It speaks EventStoreDB's protocol for one node and stores in SQLite. Production
    runs EventStoreDB itself. Several servers can run in one process, and one that was
    stopped can be started again: it keeps its port, and with a data file its events.

    Args:
        host: The address to listen on; loopback unless told otherwise.
        port: The port to listen on; 0 takes a free one.
        data: The database file, made when missing; None keeps everything in memory.
        advertise_host: The address that gossip tells clients; by default *host*, or
            ``localhost`` where that is a loopback address.
        tls_cert: The PEM file of the certificate chain; with *tls_key*, TLS is on.
        tls_key: The PEM file of the certificate's key.
        users: Admins, name to password. They need TLS, as clients send no
            credentials without it. Without any user every caller may do everything.
        readers: Users who may use streams, yet neither the whole log nor streams
            that begin with `$`.
        max_append_size: The most bytes of data that one append may have; as
            EventStoreDB's option of this name.

    Attributes:
        host: The address that it listens on.
        port: The port that it listens on, once started.

    Raises:
        ServerError: The arguments do not fit together.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        data: Path | str | None = None,
        advertise_host: str | None = None,
        tls_cert: Path | str | None = None,
        tls_key: Path | str | None = None,
        users: Mapping[str, str] | None = None,
        readers: Mapping[str, str] | None = None,
        max_append_size: int = MAX_APPEND_BYTES,
    ) -> None:
        if (tls_cert is None) != (tls_key is None):
            msg = "A certificate and its key are needed, not one of them."
            raise ServerError(msg)
        if tls_cert is None and (users or readers):
            msg = (
                "Users need TLS: clients send no credentials without it. Give a"
                " certificate and its key, or no users."
            )
            raise ServerError(msg)
        if not 0 <= port <= 65535:
            msg = f"There is no port {port}: give one from 0 to 65535."
            raise ServerError(msg)
        if max_append_size < 1:
            msg = f"An append of {max_append_size} bytes holds nothing: allow more."
            raise ServerError(msg)
        self.host = host
        self.port = port
        self._max_append_size = max_append_size
        self._data = None if data is None else Path(data)
        self._advertise_host = advertise_host or _LOOPBACK_NAMES.get(host, host)
        self._tls_cert = None if tls_cert is None else Path(tls_cert)
        self._tls_key = None if tls_key is None else Path(tls_key)
        self._users = Users(dict(users or {}), dict(readers or {}))
        self._running: _Running | None = None

    @property
    def target(self) -> str:
        """Host and port, as gRPC wants them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def uri(self) -> str:
        """The URI for clients, without user and password."""
        tls = "false" if self._tls_cert is None else "true"
        return f"esdb://{self.target}?Tls={tls}"

    def start(self) -> EmbeddedServer:
        """
        Start to serve; return when clients can connect.

        Returns:
            The server itself.

        Raises:
            DataFileError: The data file cannot be used.
            ServerError: It runs already, the address is in use, or the certificate
                cannot be used.
        """
        if self._running is not None:
            msg = f"The server at {self.target} runs already."
            raise ServerError(msg)
        credentials = self._load_credentials()
        log = Log(self._data)
        try:
            self._running = self._serve(log, credentials)
        except BaseException:
            log.close()
            raise
        return self

    def stop(self) -> None:
        """
        End all calls and close the data file; return when every thread has ended.

        Does nothing when the server does not run.
        """
        running, self._running = self._running, None
        if running is not None:
            running.calls.stop()
            running.finish()

    def freeze(self) -> None:
        """
        Stop answering, as a server whose process is suspended.

        Connections stay open and calls wait: clients find out by their deadlines only.
        """
        if self._running is not None:
            self._running.calls.freeze()

    def unfreeze(self) -> None:
        """Answer again: calls whose clients still wait continue."""
        if self._running is not None:
            self._running.calls.unfreeze()

    def kill(self) -> None:
        """
        Stop as a server whose process is killed.

        A call under way fails as unavailable, whether it was carried out or not. What
        was acknowledged before is in the data file.
        """
        running, self._running = self._running, None
        if running is not None:
            running.calls.kill()
            running.finish()

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _load_credentials(self) -> grpc.ServerCredentials | None:
        if self._tls_cert is None or self._tls_key is None:
            return None
        try:
            return load_credentials(self._tls_cert, self._tls_key)
        except CertificateError as error:
            raise ServerError(str(error)) from error

    def _serve(self, log: Log, credentials: grpc.ServerCredentials | None) -> _Running:
        executor = ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="esdb-server")
        server = grpc.server(executor, options=GRPC_OPTIONS)
        self.port = self._bind(server, credentials)
        calls = Calls(self._users, executor.submit)
        reader, writer = Reader(log), Writer(log)
        groups = Groups(reader, writer)
        _write_first_event(log, writer)
        servicers = (
            Streams(calls, reader, writer, self._max_append_size),
            PersistentSubscriptions(calls, groups),
            Gossip(calls, self._advertise_host, self.port),
        )
        server.add_generic_rpc_handlers(tuple(map(method_handlers, servicers)))
        server.start()
        return _Running(log, groups, calls, executor, server)

    def _bind(
        self, server: grpc.Server, credentials: grpc.ServerCredentials | None
    ) -> int:
        try:
            _check_address(self.host, self.port)
            port: int = (
                server.add_insecure_port(self.target)
                if credentials is None
                else server.add_secure_port(self.target, credentials)
            )
        except (OSError, OverflowError, RuntimeError, UnicodeError) as error:
            raise ServerError(_cannot_listen(self.target, self.port, error)) from error
        return port


def _cannot_listen(target: str, port: int, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or error
    said = f"Cannot listen on {target}: {reason}"
    if getattr(error, "errno", None) != errno.EADDRINUSE:
        return f"{said}. Choose another host or port."
    owner = port_owner(port)
    if owner is None:
        return f"{said}. Stop what listens there, or choose another host or port."
    return f"{said}, by {owner}. Stop it with «{owner.stop}», or choose another port."


def _check_address(host: str, port: int) -> None:
    """Bind a plain socket first: gRPC would write its own lines to standard error."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        if os.name == "posix":
            # As gRPC does: connections of an earlier server that linger do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def _write_first_event(log: Log, writer: Writer) -> None:
    if log.stream(_FIRST_STREAM) is None:
        event = NewEvent(uuid.uuid4().bytes, METADATA_TYPE, True, _FIRST_METADATA)
        writer.append(_FIRST_STREAM, NO_STREAM, [event])
