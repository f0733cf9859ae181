from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer, ServerError
from tests.support.client_library import (
    EventStoreDBClient,
    GrpcDeadlineExceeded,
    NewEvent,
    NotFound,
    ServiceUnavailable,
    StreamState,
)


def append_one(client: EventStoreDBClient, stream: str = "dog-1") -> int:
    return client.append_events(
        stream, current_version=StreamState.ANY, events=[NewEvent("T", b"{}")]
    )


def test_serves_as_soon_as_start_returns():
    with (
        EmbeddedServer() as server,
        socket.create_connection((server.host, server.port), timeout=5),
    ):
        pass


def start_and_stop_times() -> tuple[float, float]:
    begin = time.monotonic()
    server = EmbeddedServer().start()
    started = time.monotonic()
    with EventStoreDBClient(server.uri) as client:
        subscriptions = [client.subscribe_to_all() for _ in range(20)]
        stopping = time.monotonic()
        server.stop()
        stopped = time.monotonic()
        del subscriptions
    return started - begin, stopped - stopping


def test_starts_and_stops_in_a_fraction_of_a_second():
    # The best of several: the machine may be busy with something else.
    times = [start_and_stop_times() for _ in range(5)]

    assert min(start for start, _ in times) < 0.3
    assert min(stop for _, stop in times) < 0.3


def test_leaves_no_thread_behind():
    before = set(threading.enumerate())

    with EmbeddedServer() as server, EventStoreDBClient(server.uri) as client:
        client.create_subscription_to_all("group")
        consumer = client.read_subscription_to_all("group")
        subscription = client.subscribe_to_all()
        append_one(client)
        next(subscription)
        server.stop()
        consumer.stop()
        subscription.stop()
        left = [
            thread
            for thread in set(threading.enumerate()) - before
            if thread.name.startswith("esdb")
        ]

    assert left == []


def test_many_servers_in_one_process_keep_apart():
    servers = [EmbeddedServer().start() for _ in range(5)]
    try:
        for number, server in enumerate(servers):
            with EventStoreDBClient(server.uri) as client:
                append_one(client, f"stream-{number}")
                names = {e.stream_name for e in client.read_all()}
                assert names == {f"stream-{number}"}
    finally:
        for server in servers:
            server.stop()


def test_starts_again_on_the_same_port_with_its_events(tmp_path: Path):
    server = EmbeddedServer(data=tmp_path / "events.db")
    with server, EventStoreDBClient(server.uri) as client:
        position = append_one(client)
        port = server.port

    with server, EventStoreDBClient(server.uri) as client:
        assert server.port == port
        assert client.get_commit_position() == position


def test_in_memory_forgets_its_events_when_stopped():
    server = EmbeddedServer()
    with server, EventStoreDBClient(server.uri) as client:
        append_one(client)

    with server, EventStoreDBClient(server.uri) as client, pytest.raises(NotFound):
        client.get_stream("dog-1")


def test_a_port_in_use_is_an_error(server: EmbeddedServer):
    with pytest.raises(ServerError, match="Address already in use"):
        EmbeddedServer(port=server.port).start()


def test_starting_twice_is_an_error(server: EmbeddedServer):
    with pytest.raises(ServerError, match="runs already"):
        server.start()


def test_stopping_twice_does_nothing():
    server = EmbeddedServer().start()
    server.stop()
    server.stop()


def test_users_without_tls_are_an_error():
    with pytest.raises(ServerError, match="Users need TLS"):
        EmbeddedServer(users={"admin": "secret"})


def test_a_frozen_server_lets_deadlines_pass(
    server: EmbeddedServer, client: EventStoreDBClient
):
    append_one(client)
    server.freeze()
    try:
        with pytest.raises(GrpcDeadlineExceeded):
            client.get_stream("dog-1", timeout=0.2)
    finally:
        server.unfreeze()

    assert len(client.get_stream("dog-1")) == 1


def test_a_frozen_server_delivers_when_it_is_unfrozen(
    server: EmbeddedServer, client: EventStoreDBClient
):
    subscription = client.subscribe_to_all()
    server.freeze()
    with ThreadPoolExecutor() as executor:
        appended = executor.submit(append_one, client)
        received = executor.submit(next, subscription)
        assert not appended.done()
        server.unfreeze()

        assert received.result(timeout=10).commit_position == appended.result()
    subscription.stop()


def test_a_call_given_up_while_frozen_is_not_carried_out(
    server: EmbeddedServer, client: EventStoreDBClient
):
    server.freeze()
    try:
        with pytest.raises(GrpcDeadlineExceeded):
            client.append_event(
                "dog-1",
                current_version=StreamState.NO_STREAM,
                event=NewEvent("T", b"{}"),
                timeout=0.2,
            )
        # The server counts from when the call has reached it.
        time.sleep(1)
    finally:
        server.unfreeze()

    with pytest.raises(NotFound):
        client.get_stream("dog-1")


def test_a_killed_server_breaks_connections_off(tmp_path: Path):
    server = EmbeddedServer(data=tmp_path / "events.db").start()
    with EventStoreDBClient(server.uri) as client:
        position = append_one(client)
        subscription = client.subscribe_to_all(commit_position=position)
        server.kill()
        with pytest.raises(ServiceUnavailable):
            next(subscription)
        with pytest.raises(ServiceUnavailable):
            client.get_stream("dog-1")

        server.start()
        try:
            assert client.get_stream("dog-1")[0].commit_position == position
        finally:
            server.stop()


@pytest.mark.parametrize(
    ("advertise_host", "expected"), [(None, "localhost"), ("example", "example")]
)
def test_gossip_tells_the_advertised_address(advertise_host, expected):
    with (
        EmbeddedServer(advertise_host=advertise_host) as server,
        EventStoreDBClient(server.uri) as client,
    ):
        (member,) = client.read_gossip()

        assert (member.address, member.port) == (expected, server.port)
