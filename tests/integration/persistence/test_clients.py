from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import grpc
import pytest
from eventsourcing.persistence import OperationalError, StoredEvent

from eventsourcing_eventstoredb import EventStoreDBFactory
from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.protocol import messages
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.protocol.retrying import connected
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import (
    DiscoveryFailed,
    EventStoreDBClient,
    EventStoreDBClientException,
    NewEvent,
    StreamState,
)
from tests.support.event_stores import EventStore
from tests.support.running_stores import own_stream, uri_at

URI = "esdb://localhost:2113?Tls=false"
REQUEST = messages.all_request(None, backwards=True, limit=1)


@pytest.mark.parametrize("keeper", ["builtins", "module"])
def test_an_application_may_outlive_the_modules_of_its_process(keeper: str) -> None:
    code = (
        "import builtins, sys, types\n"
        "module = sys.modules['module'] = types.ModuleType('module')\n"
        "from eventsourcing.application import Application\n"
        "application = Application({\n"
        "    'PERSISTENCE_MODULE': 'eventsourcing_eventstoredb',\n"
        f"    'EVENTSTOREDB_URI': '{URI}',\n"
        "})\n"
        "application.recorder\n"
        f"{keeper}.application = application\n"
    )

    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )

    assert (finished.returncode, finished.stderr) == (0, "")


def test_factories_with_equal_settings_share_a_client() -> None:
    env = {"EVENTSTOREDB_URI": URI}
    first, second = EventStoreDBFactory(env), EventStoreDBFactory(env)
    other = EventStoreDBFactory({"EVENTSTOREDB_URI": URI + "&ConnectionName=x"})
    client = first.client
    assert second.client is client
    assert second.application_recorder().client is client  # type: ignore[attr-defined]
    assert other.client is not client

    first.close()
    first.close()
    assert not client.is_closed
    second.close()
    assert client.is_closed
    assert not other.client.is_closed
    other.close()


def test_a_factory_that_was_closed_connects_again(server: EmbeddedServer) -> None:
    factory = EventStoreDBFactory({"EVENTSTOREDB_URI": server.uri})
    factory.application_recorder()
    factory.close()

    assert factory.application_recorder().select_events("none") == []
    factory.close()


def test_threads_that_come_first_together_get_one_client() -> None:
    factory = EventStoreDBFactory({"EVENTSTOREDB_URI": URI})
    with ThreadPoolExecutor(8) as threads:
        clients = set(threads.map(lambda _: factory.client, range(50)))

    assert len(clients) == 1
    factory.close()


@pytest.fixture
def channel_options(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Options of the channel made last, as gRPC gets them."""
    recorded: dict[str, object] = {}
    make: Callable[..., grpc.Channel] = grpc.insecure_channel

    def insecure_channel(target: str, options: object = ()) -> grpc.Channel:
        recorded.clear()
        recorded.update(options)  # type: ignore[call-overload]
        return make(target, options)

    monkeypatch.setattr(grpc, "insecure_channel", insecure_channel)
    return recorded


def use(client: Client) -> None:
    client.connector.connection()
    client.close()


def test_keep_alive_reaches_the_channel(channel_options: dict[str, object]) -> None:
    uri = f"{URI}&keepAliveInterval=7000&KEEPALIVETIMEOUT=3000"
    use(Client(parse_connection(uri)))

    assert channel_options["grpc.keepalive_time_ms"] == 7000
    assert channel_options["grpc.keepalive_timeout_ms"] == 3000


def test_channel_connects_again_without_long_pauses(
    channel_options: dict[str, object],
) -> None:
    use(Client(parse_connection(URI)))

    assert channel_options["SingleThreadedUnaryStream"] == 1
    assert channel_options["grpc.max_reconnect_backoff_ms"] == 2000
    # With them the first call after a clean shutdown of the server may hang for good.
    assert channel_options["grpc.enable_retries"] == 0


@pytest.mark.parametrize("scheme", ["esdb", "kurrentdb", "kdb"])
@pytest.mark.parametrize("discover", ["", "+discover"])
def test_every_documented_scheme_connects(
    server: EmbeddedServer, scheme: str, discover: str
) -> None:
    uri = uri_at(server, server.target, scheme=scheme + discover)
    # As others write it.
    uri = uri.replace("/?", "?").replace("?", "/?").replace("Tls=", "TLS=")
    factory = EventStoreDBFactory({"EVENTSTOREDB_URI": uri})
    recorder = factory.application_recorder()

    assert recorder.select_events("none") == []
    factory.close()


def test_several_hosts_connect_to_one_that_answers(server: EmbeddedServer) -> None:
    with EmbeddedServer() as another:
        dead = another.port
    uri = uri_at(server, f"127.0.0.1:{dead},{server.target}")
    factory = EventStoreDBFactory({"EVENTSTOREDB_URI": uri})
    recorder = factory.application_recorder()

    dog = str(uuid4())
    recorder.insert_events([StoredEvent(dog, 0, "topic", b"{}")])
    assert len(recorder.select_events(dog)) == 1
    factory.close()


def test_the_factorys_client_is_one_that_users_can_call(server: EmbeddedServer) -> None:
    factory = EventStoreDBFactory({"EVENTSTOREDB_URI": server.uri})
    client = factory.client
    assert isinstance(client, EventStoreDBClient)

    event = NewEvent("topic", b"{}")
    stream = own_stream(server, "dog-1")
    before = client.get_commit_position()
    client.append_to_stream(
        stream, current_version=StreamState.NO_STREAM, events=[event]
    )
    with client.subscribe_to_all(
        commit_position=before, filter_include=[stream], filter_by_stream_name=True
    ) as subscription:
        assert next(subscription).id == event.id
    assert len(factory.application_recorder().select_events("dog-1")) == 1
    assert client.connection_target == connected(client).target
    connection = connected(client)
    client.reconnect()
    assert connected(client) is not connection
    assert [each.id for each in client.get_stream(stream)] == [event.id]
    factory.close()


def outcome(call: Callable[[], Iterable[Any]]) -> Any:
    """What a call returns or raises, which differs between the client libraries."""
    try:
        return list(call())
    except (ValueError, EventStoreDBClientException) as error:
        return type(error)


@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_users_calls_fail_as_those_of_any_client(
    store: EventStore, ends: Callable[[EventStore], None]
) -> None:
    client = Client(parse_connection(store.uri))
    with EventStoreDBClient(store.uri) as plain:
        plain.close()
        expected = outcome(plain.read_all)
    event = NewEvent("topic", b"{}")
    client.close()
    assert outcome(client.read_all) == expected

    # Appends connect it again.
    client.close()
    client.append_events("dog-1", current_version=StreamState.ANY, events=[event])
    assert not client.is_closed
    assert len(client.get_stream("dog-1")) == 1
    client.close()

    address, port = store.address, store.address.partition(":")[2]
    uri = f"esdb://{address},{address}?Tls=false&MaxDiscoverAttempts=1"
    client = Client(parse_connection(uri))
    ends(store)
    with pytest.raises(DiscoveryFailed, match=f"none of {address}, :{port} answered"):
        client.get_commit_position()


def test_users_reads_end_with_the_client(server: EmbeddedServer) -> None:
    outcomes = []
    for client in (
        Client(parse_connection(server.uri)),
        EventStoreDBClient(server.uri),
    ):
        subscription = client.subscribe_to_all()
        client.close()
        outcomes.append(outcome(lambda: subscription))  # noqa: B023  called at once

    assert outcomes[0] == outcomes[1]


def test_a_reconnection_for_an_older_connection_keeps_the_newer_one(
    server: EmbeddedServer,
) -> None:
    """As kurrentdbclient asks for it, when calls of several threads have failed."""
    with Client(parse_connection(server.uri)) as client:
        assert client.connection_id is None
        client.get_commit_position()
        first, connection = client.connection_id, client.connector.connection()
        client.reconnect(connection_id=uuid4())
        assert client.connector.connection() is connection

        client.reconnect(connection_id=first)

        assert client.connector.connection() is not connection


def test_a_foreign_client_has_one_connection_which_is_closed_with_it(
    server: EmbeddedServer,
) -> None:
    client, another = EventStoreDBClient(server.uri), EventStoreDBClient(server.uri)
    connection = connected(client)
    assert connected(client) is connection
    assert connected(another) is not connection

    client.close()
    assert client.is_closed
    with pytest.raises(OperationalError, match="client was closed"):
        connected(client)
    with pytest.raises(ValueError, match="closed channel"):
        connection.streams.Read(REQUEST)
    client.close()
    another.close()


@pytest.mark.parametrize(
    "make", [EventStoreDBClient, lambda uri: Client(parse_connection(uri))]
)
def test_a_client_that_was_closed_can_be_closed_again(
    server: EmbeddedServer, make: Callable[[str], EventStoreDBClient]
) -> None:
    client = make(server.uri)
    recorder = EventStoreDBApplicationRecorder(client, originator_id_type=str)
    client.close()
    client.close()
    for version in range(3):
        # A save connects again what was closed.
        recorder.insert_events([StoredEvent("dog-1", version, "topic", b"{}")])
        connection = connected(client)
        client.close()
        with pytest.raises(ValueError, match="closed channel"):
            connection.streams.Read(REQUEST)
        with pytest.raises(OperationalError, match="client was closed"):
            recorder.select_events("dog-1")
        client.close()


def test_a_foreign_clients_connection_is_closed_when_it_is_collected(
    server: EmbeddedServer,
) -> None:
    client = EventStoreDBClient(server.uri)
    connection = connected(client)

    del client
    gc.collect()

    with pytest.raises(ValueError, match="closed channel"):
        connection.streams.Read(REQUEST)


def test_a_foreign_client_that_was_closed_before_stays_closed(
    server: EmbeddedServer,
) -> None:
    client = EventStoreDBClient(server.uri)
    client.close()

    with pytest.raises(OperationalError, match="client was closed"):
        connected(client)


def test_a_connection_that_failed_is_replaced_once(server: EmbeddedServer) -> None:
    client = Client(parse_connection(server.uri))
    failed = connected(client)
    with ThreadPoolExecutor(8) as threads:
        replaced = set(
            threads.map(lambda _: client.connector.replace(failed), range(50))
        )

    assert len(replaced) == 1
    assert failed not in replaced
    client.close()
