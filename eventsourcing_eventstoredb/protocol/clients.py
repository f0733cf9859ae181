"""
Clients of the client library, and the connections that are used in their place.

The one that this package makes shares its connection with its user's own calls. For any
other client another connection is opened to the same servers, with the same settings.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid4

import grpc

from eventsourcing_eventstoredb.connection_settings import ConnectionSettings
from eventsourcing_eventstoredb.inheriting import without_inheriting
from eventsourcing_eventstoredb.protocol import private
from eventsourcing_eventstoredb.protocol.access import (
    Access,
    BasicAuthentication,
    authorization,
)
from eventsourcing_eventstoredb.protocol.connections import Connection
from eventsourcing_eventstoredb.protocol.connectors import Connector
from eventsourcing_eventstoredb.protocol.discovery import find_node
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason
from eventsourcing_eventstoredb.protocol.generated import (
    BaseEventStoreDBClient,
    DiscoveryFailed,
    ESDBConnection,
    EventStoreDBClient,
    GossipService,
    PersistentSubscriptionsService,
    ProjectionsService,
    StreamsService,
    option,
)

Metadata = tuple[tuple[str, str], ...]

__all__ = ["Client", "EventStoreDBClient", "connector_of"]


class Client(EventStoreDBClient):
    """
    A client of the client library for *settings*, with credentials of any characters.

    It connects when it is first used.

    Attributes:
        connector: Has its connection.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        # Not EventStoreDBClient's, which opens a channel that is not shared.
        BaseEventStoreDBClient.__init__(
            self, settings.client_uri, root_certificates=settings.root_certificates
        )
        self._services: weakref.WeakKeyDictionary[Connection, ESDBConnection] = (
            weakref.WeakKeyDictionary()
        )
        # The files that it would read these from have been read and checked.
        self.certificate_chain = _encoded(settings.certificate_chain)
        self.private_key = _encoded(settings.private_key)
        metadata = _metadata_in_clear(settings)
        private.add_call_metadata(self, metadata)
        self._last_id: UUID | None = None
        self.connector = Connector(_access(self, metadata), find_node)

    @property
    def is_closed(self) -> bool:
        return self.connector.is_closed

    @property
    def connection_target(self) -> str:
        return self._connection_in_use().target

    @property
    def streams(self) -> StreamsService:
        return self._connected().streams

    @property
    def persistent_subscriptions(self) -> PersistentSubscriptionsService:
        return self._connected().persistent_subscriptions

    @property
    def gossip(self) -> GossipService:
        return self._connected().gossip

    @property
    def projections(self) -> ProjectionsService:
        return self._connected().projections

    def construct_call_credentials(
        self, username: str | None, password: str | None
    ) -> grpc.CallCredentials | None:
        if not self._settings.tls or not self._settings.username:
            return None
        # gRPC keeps the context that they are made in for as long as the channel.
        return without_inheriting(
            grpc.metadata_call_credentials,
            BasicAuthentication(self._settings.username, self._settings.password),
        )

    @property
    def v2streams(self) -> Any:
        """The calls of servers from 25.1 on, if the client library has them."""
        connected: Any = self._connected()
        return connected.v2streams

    @property
    def connection_id(self) -> UUID | None:
        """
        Which connection is in use, for :meth:`reconnect`; None if there is none.

        It does not connect, since kurrentdbclient asks for it before each call.
        """
        return self._last_id

    def reconnect(
        self, grpc_target: str | None = None, *, connection_id: UUID | None = None
    ) -> None:
        """
        Connect anew.

        Args:
            grpc_target: Where to; None for the servers of the connection string.
            connection_id: The connection that failed. If there is another one by now,
                that one is left alone.
        """
        connector = self.connector
        if connection_id not in (None, self._last_id):
            return
        with _in_the_clients_words():
            failed = None if connector.is_closed else connector.connection()
            connector.reopen()
            connector.replace(failed, grpc_target)

    def close(self) -> None:
        # It may have failed to be made.
        connector = self.__dict__.get("connector")
        if connector is not None:
            connector.close()

    def _connection_in_use(self) -> Connection:
        with _in_the_clients_words():
            return self.connector.connection()

    def _connected(self) -> ESDBConnection:
        connection = self._connection_in_use()
        services = self._services.get(connection)
        if services is None:
            services = self._services[connection] = ESDBConnection(
                connection.channel, connection.target, self.connection_spec
            )
            connection.companions.append(services.close)
            self._last_id = uuid4()
        return services


@contextmanager
def _in_the_clients_words() -> Iterator[None]:
    """Raise for the user's own calls what the client library raises."""
    try:
        yield
    except CallError as error:
        if error.reason is Reason.CLOSED:
            # By this text it knows that it is to connect again, as it does for appends.
            msg = "Channel closed!"
            raise ValueError(msg) from error
        raise DiscoveryFailed(error.details) from error


def connector_of(client: EventStoreDBClient) -> Connector:
    """
    Return what has the connection to use in place of the client's own.

    It is closed with the client, whether that is closed or collected.

    Args:
        client: Any client of the client library.
    """
    if isinstance(client, Client):
        return client.connector
    connector = _others.get(client)
    if connector is None:
        with _lock:
            connector = _others.get(client)
            if connector is None:
                access = _access(client, _metadata_of_foreign(client))
                connector = _others[client] = Connector(access, find_node)
                _close_along(client, connector)
    return connector


def _close_along(client: EventStoreDBClient, connector: Connector) -> None:
    """Have the connector closed whenever the client is."""
    if client.is_closed:
        connector.close()
    # Neither may keep the client from being collected.
    client.close = _closing(weakref.ref(client), connector)  # type: ignore[method-assign]
    weakref.finalize(client, connector.close).atexit = False


def _closing(
    client: weakref.ref[EventStoreDBClient], connector: Connector
) -> Callable[[], None]:
    def close() -> None:
        connector.close()
        closed = client()
        if closed is not None:
            type(closed).close(closed)

    return close


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _metadata_in_clear(settings: ConnectionSettings) -> Metadata:
    """What is sent with each call since gRPC sends no credentials without TLS."""
    if not settings.sends_in_clear:
        return ()
    return (authorization(settings.username, settings.password),)


def _metadata_of_foreign(client: EventStoreDBClient) -> Metadata:
    """The same for an address that its user has written."""
    spec = client.connection_spec
    if option(client, "Tls") or not (spec.username and spec.password):
        return ()
    return (authorization(unquote(spec.username), unquote(spec.password)),)


def _access(client: EventStoreDBClient, metadata: Metadata) -> Access:
    spec = client.connection_spec
    keep_alive_timeout = option(client, "KeepAliveTimeout")
    keep_alive: tuple[tuple[str, int | None], ...] = (
        # esdbclient sends the interval under a name that gRPC does not know.
        ("grpc.keepalive_time_ms", option(client, "KeepAliveInterval")),
        ("grpc.keepalive_timeout_ms", keep_alive_timeout),
        # What acts: without it gRPC waits a minute for the answer to a ping.
        ("grpc.http2.ping_timeout_ms", keep_alive_timeout),
    )
    return Access(
        targets=tuple(spec.targets),
        resolves_names=spec.scheme.endswith("+discover"),
        node_preference=option(client, "NodePreference"),
        max_discover_attempts=option(client, "MaxDiscoverAttempts"),
        discovery_interval=option(client, "DiscoveryInterval") / 1000,
        gossip_timeout=option(client, "GossipTimeout"),
        connection_name=option(client, "ConnectionName"),
        default_deadline=option(client, "DefaultDeadline"),
        channel_options=tuple(
            (name, value) for name, value in keep_alive if value is not None
        ),
        channel_credentials=(
            grpc.ssl_channel_credentials(
                root_certificates=client.root_certificates,
                private_key=client.private_key,
                certificate_chain=client.certificate_chain,
            )
            if option(client, "Tls")
            else None
        ),
        call_credentials=without_inheriting(
            client.construct_call_credentials, spec.username, spec.password
        ),
        call_metadata=metadata,
    )


_lock = threading.RLock()
_others: weakref.WeakKeyDictionary[EventStoreDBClient, Connector] = (
    weakref.WeakKeyDictionary()
)


def _unlock_after_fork() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_unlock_after_fork)
