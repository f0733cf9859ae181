from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import tracemalloc
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from django_esdb.tracebacks import frame_of
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.server.storage.log import Log
from eventsourcing_eventstoredb.server.storage.records import NewEvent as LogEvent
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamState,
    WrongCurrentVersion,
    shared_pb2,
    streams_pb2,
    streams_pb2_grpc,
)
from tests.support.patience import wait_until
from tests.support.projects import ROOT

OPTIONS = streams_pb2.ReadReq.Options


def append_one(
    client: EventStoreDBClient, stream: str = "dog", data: bytes = b"{}"
) -> int:
    return client.append_events(
        stream, current_version=StreamState.ANY, events=[NewEvent("T", data)]
    )


def subscribe_without_reading(channel: grpc.Channel) -> grpc.Call:
    """A call whose client takes the confirmation and then nothing."""
    call = streams_pb2_grpc.StreamsStub(channel).Read(
        streams_pb2.ReadReq(
            options=OPTIONS(
                all=OPTIONS.AllOptions(start=shared_pb2.Empty()),
                subscription=OPTIONS.SubscriptionOptions(),
                no_filter=shared_pb2.Empty(),
                uuid_option=OPTIONS.UUIDOption(string=shared_pb2.Empty()),
            )
        )
    )
    next(call)
    return call


def call_threads() -> int:
    """How many threads of the pool are busy waiting for events."""
    return sum(
        "subscriptions.py" in frame.f_code.co_filename
        for thread in threading.enumerate()
        for frame in frames_of(frame_of(thread.ident or 0))
    )


def frames_of(frame):
    while frame is not None:
        yield frame
        frame = frame.f_back


def test_fifty_subscriptions_all_get_everything_in_order(server: EmbeddedServer):
    def receive(subscription) -> list[int]:
        return [next(subscription).commit_position for _ in range(100)]

    clients = [EventStoreDBClient(server.uri) for _ in range(50)]
    try:
        subscriptions = [client.subscribe_to_all() for client in clients]
        with ThreadPoolExecutor(50) as executor:
            received = [executor.submit(receive, one) for one in subscriptions]
            positions = [append_one(clients[0]) for _ in range(100)]
            for one in received:
                assert one.result(timeout=60) == positions
    finally:
        for client in clients:
            client.close()


def test_two_hundred_appends_at_once_give_one_winner_for_each_revision(
    server: EmbeddedServer, client: EventStoreDBClient
):
    append_one(client)

    def compete(number: int) -> int | None:
        revision = number // 10
        for _ in range(1000):
            try:
                client.append_event(
                    "dog", current_version=revision, event=NewEvent("T", b"{}")
                )
            except WrongCurrentVersion:
                # Too late, or too early and to be tried again.
                last = client.get_current_version("dog")
                if last > revision:
                    return None
            else:
                return revision
        raise AssertionError("The revision was never reached.")

    with ThreadPoolExecutor(16) as executor:
        winners = Counter(executor.map(compete, range(200)))

    del winners[None]
    assert winners == Counter(range(20))
    assert client.get_current_version("dog") == 20


def test_a_subscriber_that_does_not_read_holds_up_no_other(
    server: EmbeddedServer, client: EventStoreDBClient
):
    with grpc.insecure_channel(server.target) as channel:
        call = subscribe_without_reading(channel)
        with client.subscribe_to_all() as subscription:
            for _ in range(30):
                position = append_one(client, data=b"x" * 1_000_000)
                assert next(subscription).commit_position == position
        call.cancel()


def test_a_subscriber_that_does_not_read_takes_no_memory(tmp_path: Path):
    with (
        EmbeddedServer(data=tmp_path / "events.db") as server,
        EventStoreDBClient(server.uri) as client,
        grpc.insecure_channel(server.target) as channel,
    ):
        calls = [subscribe_without_reading(channel) for _ in range(3)]
        for _ in range(20):
            append_one(client, data=b"x" * 1_000_000)
        gc.collect()
        tracemalloc.start()
        try:
            for _ in range(60):
                append_one(client, data=b"x" * 1_000_000)
            gc.collect()
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        for call in calls:
            call.cancel()

    # 60 MB were written; each subscriber may hold a page.
    assert grown < 20_000_000


def test_a_client_that_vanishes_frees_its_call(server: EmbeddedServer):
    code = (
        "import sys; from tests.support.client_library import EventStoreDBClient as C;"
        "c = C(sys.argv[1]); s = [c.subscribe_to_all() for _ in range(5)];"
        "print('subscribed', flush=True); sys.stdin.read()"
    )
    before = call_threads()
    process = subprocess.Popen(
        [sys.executable, "-c", code, server.uri],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "subscribed\n"
    assert call_threads() > before
    process.kill()
    process.communicate()

    wait_until(lambda: call_threads() == before)


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data file with a million events, and a few."""
    file = tmp_path_factory.mktemp("million") / "events.db"
    log = Log(file)
    event = LogEvent(uuid.uuid4().bytes, "T", True, b'{"name":"Fido"}')
    for number in range(100):
        with log.transaction() as transaction:
            transaction.write(f"stream-{number}", 0, [event] * 10_000)
    log.close()
    return file


@pytest.mark.slow("writes a million events")
def test_a_million_events_open_at_once(million: Path):
    def seconds_to_open() -> float:
        begin = time.monotonic()
        with EmbeddedServer(data=million):
            return time.monotonic() - begin

    assert min(seconds_to_open() for _ in range(3)) < 2


@pytest.mark.slow("reads a million events")
def test_a_million_events_are_read_in_constant_memory(million: Path):
    code = """
import resource, sys
from pathlib import Path
from eventsourcing_eventstoredb.server.storage.log import Log
from eventsourcing_eventstoredb.server.engine.reads import Reader

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

log = Log(Path(sys.argv[1]))
pages = Reader(log).all_forwards(0, 2**63, None)
count = len(next(pages))
before = peak()
count += sum(map(len, pages))
print(count, peak() - before)
"""
    output = subprocess.run(
        [sys.executable, "-c", code, str(million)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    count, grown_kilobytes = map(int, output.split())

    assert count >= 1_000_000
    assert grown_kilobytes < 20_000


def test_the_writer_does_not_hold_up_readers(tmp_path: Path):
    log = Log(tmp_path / "events.db")
    try:
        with log.transaction() as transaction, ThreadPoolExecutor() as executor:
            transaction.write(
                "dog", 0, [LogEvent(uuid.uuid4().bytes, "T", True, b"{}")]
            )
            reading = executor.submit(log.forwards, 0, 10)

            assert reading.result(timeout=10) == []
    finally:
        log.close()


def test_a_failed_transaction_leaves_nothing():
    def fail(log: Log) -> None:
        with log.transaction() as transaction:
            transaction.write(
                "dog", 0, [LogEvent(uuid.uuid4().bytes, "T", True, b"{}")]
            )
            raise ZeroDivisionError

    log = Log()
    end = log.end
    with pytest.raises(ZeroDivisionError):
        fail(log)

    assert log.forwards(0, 10) == []
    assert log.stream("dog") is None
    assert log.end == end
    log.close()
