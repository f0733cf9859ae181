"""
What reading a notification costs: the bare stub, the client library and this package.

    python -m benchmarks.bench_reading [--events N] [--rounds N] [--quick] [--uri URI]

The embedded server runs in a process of its own, unless a server is named by its
URI. All three read the same events in turns, and the best round counts. The rate is
the slower one's of server and client; the client's CPU is the client's alone, gRPC's
threads and the parsing of messages included. The last figure feeds a subscription from
messages in memory, and leaves out what parsing them costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any
from uuid import uuid4

import grpc
import grpc.experimental

from benchmarks.support.client_library import (
    NAME,
    EventStoreDBClient,
    NewEvent,
    StreamState,
    streams_pb2,
    streams_pb2_grpc,
)
from benchmarks.support.event_stores import event_store
from benchmarks.support.options import new_parser
from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.protocol import calls, messages
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.streams.all_stream import AllStream
from eventsourcing_eventstoredb.streams.event_filter import EventFilter
from eventsourcing_eventstoredb.streams.mapping import Layout
from eventsourcing_eventstoredb.subscriptions.read_ahead import ReadAhead
from eventsourcing_eventstoredb.subscriptions.receiving import Receiver
from eventsourcing_eventstoredb.subscriptions.state import StateCell

EVENTS = 50_000
ROUNDS = 3
DATA = b'{"trick":"roll over","taught_by":"Anna","timestamp":"2025-01-01T10:00"}'
TOPIC = "training_school.domain:Dog.TrickAdded"


def fill(client: EventStoreDBClient, count: int) -> None:
    """Append *count* events, ten for each aggregate but in long batches."""
    for _ in range(0, count, 1000):
        client.append_events(
            str(uuid4()),
            current_version=StreamState.NO_STREAM,
            events=[NewEvent(TOPIC, DATA) for _ in range(1000)],
        )


def read_stub(channel: grpc.Channel, count: int) -> int:
    """Read by the generated stub: nothing can cost less."""
    server_filter = EventFilter(Layout()).server_filter
    request = messages.subscription_request(None, server_filter)
    call = streams_pb2_grpc.StreamsStub(channel).Read(request)
    received = 0
    for message in call:
        received += message.HasField("event")
        if received == count:
            break
    calls.end_call(call)
    return received


def read_with_client(client: EventStoreDBClient, count: int) -> int:
    """Read by the client's own subscription."""
    with client.subscribe_to_all(window_size=2000) as subscription:
        return sum(1 for _ in islice(subscription, count))


def read_batches(recorder: EventStoreDBApplicationRecorder, count: int) -> int:
    """Read as a projection's runner does."""
    received = 0
    with recorder.subscribe() as subscription:
        while received < count:
            received += len(subscription.next_batch(2000))
    return received


def read_iteration(recorder: EventStoreDBApplicationRecorder, count: int) -> int:
    """Read as the library's own runner does."""
    with recorder.subscribe() as subscription:
        return sum(1 for _ in islice(subscription, count))


def read_selection(recorder: EventStoreDBApplicationRecorder, count: int) -> int:
    """Read once, without waiting for what is new."""
    return len(recorder.select_notifications(None, count))


def readers(uri: str) -> Iterator[tuple[str, Callable[[int], int]]]:
    """Yield each way to read with its name."""
    ours = Client(parse_connection(uri))
    plain = EventStoreDBClient(uri)
    fast = FastClient(uri)
    recorder = EventStoreDBApplicationRecorder(ours)
    bare = grpc.insecure_channel(ours.connection_target)
    yield "stub, channel as gRPC makes it", partial(read_stub, bare)
    single = ours.connector.connection().channel
    yield "stub, SingleThreadedUnaryStream", partial(read_stub, single)
    yield f"{NAME}, channel as it makes it", partial(read_with_client, plain)
    yield f"{NAME}, SingleThreadedUnaryStream", partial(read_with_client, fast)
    yield "next_batch(2000)", partial(read_batches, recorder)
    yield "iteration", partial(read_iteration, recorder)
    yield "select_notifications", partial(read_selection, recorder)
    for closing in (bare, ours, plain, fast):
        closing.close()


class FastClient(EventStoreDBClient):
    """A client of the client library with the one option that makes the difference."""

    def _construct_grpc_channel(
        self, grpc_target: str, grpc_options: Any = ()
    ) -> grpc.Channel:
        option = (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)
        return super()._construct_grpc_channel(grpc_target, (*grpc_options, option))


def measure(name: str, reader: Callable[[int], int], events: int, rounds: int) -> None:
    """Print the best rate and the least CPU of all rounds."""
    seconds, cpu, received = [], [], 0
    for _ in range(rounds):
        wall, used = time.perf_counter(), time.process_time()
        received = reader(events)
        seconds.append(time.perf_counter() - wall)
        cpu.append(time.process_time() - used)
    rate = received / min(seconds)
    print(f"{name:40} {rate:10,.0f} events/s {min(cpu) / received * 1e6:7.1f} µs CPU")


def measure_own_cost(uri: str, count: int, rounds: int) -> None:
    """Print what this package adds to messages beyond their parsing."""
    with EventStoreDBClient(uri) as client:
        request = messages.all_request(
            None,
            backwards=False,
            limit=count,
            server_filter=EventFilter(Layout()).server_filter,
        )
        recorded = [
            message.SerializeToString()
            for message in calls.read_messages(client, request)
        ]
        log = AllStream(client, EventFilter(Layout()))
        parse = streams_pb2.ReadResp.FromString
        with_it, without_it = [], []
        for _ in range(rounds):
            used = time.process_time()
            for data in recorded:
                parse(data).HasField("event")
            without_it.append(time.process_time() - used)
            ahead: ReadAhead[Any] = ReadAhead(len(recorded) + 1, 1 << 40)
            receiver = Receiver(log, None, ahead, StateCell(), 10.0)
            used = time.process_time()
            for first in range(0, len(recorded), 2000):
                receiver.receive_from(map(parse, recorded[first : first + 2000]))
                ahead.take(2000, 0)
            with_it.append(time.process_time() - used)
        best = min(with_it) - min(without_it)
        print(f"{'this package alone':40} {best / len(recorded) * 1e6:36.2f} µs CPU")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = new_parser("reading", __doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds = 1
    with event_store(options.uri) as uri:
        with EventStoreDBClient(uri) as client:
            fill(client, options.events)
        for name, reader in readers(uri):
            measure(name, reader, options.events, options.rounds)
        measure_own_cost(uri, options.events, options.rounds)


if __name__ == "__main__":
    main()
