from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import grpc
import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.server.services import private
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamState,
    shared_pb2,
    streams_pb2,
    streams_pb2_grpc,
)

EVENTS = 3_000
OPTIONS = streams_pb2.ReadReq.Options


@pytest.fixture
def full_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server, EventStoreDBClient(server.uri) as client:
        for number in range(EVENTS // 1_000):
            client.append_events(
                f"dog-{number}",
                current_version=StreamState.NO_STREAM,
                events=[NewEvent("T", str(n).encode()) for n in range(1_000)],
            )
        yield server


def read(channel: grpc.Channel, *, subscribe: bool = False) -> Any:
    how: dict[str, Any] = {"count": 10**9}
    if subscribe:
        how = {"subscription": OPTIONS.SubscriptionOptions()}
    return streams_pb2_grpc.StreamsStub(channel).Read(
        streams_pb2.ReadReq(
            options=OPTIONS(
                all=OPTIONS.AllOptions(start=shared_pb2.Empty()),
                no_filter=shared_pb2.Empty(),
                uuid_option=OPTIONS.UUIDOption(string=shared_pb2.Empty()),
                **how,
            )
        )
    )


def bodies(call: Any) -> list[bytes]:
    return [message.event.event.data for message in call]


@pytest.mark.parametrize("has_internals", [True, False])
def test_pages_arrive_whole_and_in_order(
    full_server: EmbeddedServer,
    has_internals: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(private, "HAS_INTERNALS", has_internals)
    expected = [str(n).encode() for n in range(1_000)] * (EVENTS // 1_000)

    with grpc.insecure_channel(full_server.target) as channel:
        # The first event is the server's own.
        assert bodies(read(channel))[1:] == expected


def test_calls_that_are_cancelled_midway_leave_nothing_behind(
    full_server: EmbeddedServer,
):
    def read_a_little(seed: int) -> None:
        generator = random.Random(seed)
        with grpc.insecure_channel(full_server.target) as channel:
            for _ in range(3):
                call = read(channel, subscribe=generator.random() < 0.5)
                for _ in islice(call, generator.randrange(EVENTS)):
                    pass
                call.cancel()

    with ThreadPoolExecutor(6) as executor:
        list(executor.map(read_a_little, range(6)))

    # Returns only when every call has ended.
    full_server.stop()
    assert not any(
        thread.name.startswith("esdb-server") for thread in threading.enumerate()
    )


def test_the_server_stops_while_it_sends(full_server: EmbeddedServer):
    def read_until_it_breaks() -> grpc.StatusCode:
        with grpc.insecure_channel(full_server.target) as channel:
            while True:
                try:
                    bodies(read(channel))
                except grpc.RpcError as error:
                    return error.code()

    with ThreadPoolExecutor(4) as executor:
        reading = [executor.submit(read_until_it_breaks) for _ in range(4)]
        with grpc.insecure_channel(full_server.target) as channel:
            bodies(read(channel))
        full_server.stop()

        for one in reading:
            assert one.result(timeout=60) in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.CANCELLED,
            )
