"""
How fast the embedded server is, next to a gRPC server that does nothing.

    python -m benchmarks.bench_server [--quick] [--uri URI]

Both servers run in processes of their own and get the same calls from the same client,
in turns, so that whatever else the machine does meets both. The bare server answers
appends with a constant and reads with the bytes of one event, over and over: what it
reaches is what gRPC allows in Python. Ratios count; figures vary with the machine.
A server that runs, named by its URI, is measured as well. It has to speak without TLS.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.experimental

from benchmarks.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamState,
    shared_pb2,
    streams_pb2,
)
from benchmarks.support.event_stores import listening, new_prefix
from benchmarks.support.options import new_parser

READ_EVENTS = 20_000
APPENDS = 400
SUBSCRIBERS = 50
ROUNDS = 5
DATA = b'{"name":"Fido","trick":"roll over","taught_by":"Anna","hours":12}'

READ = "/event_store.client.streams.Streams/Read"


class BareStreams(grpc.GenericRpcHandler):
    """
    Answers at once with what it has; of single streams that is none.
    """

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method.rpartition("/")[2]
        if method == "Read":
            message, nothing = example_message(), not_found_message()

            def read(request: bytes, context: Any) -> Iterator[bytes]:
                options = streams_pb2.ReadReq.FromString(request).options
                if options.HasField("stream"):
                    return iter([nothing])
                return itertools.repeat(message, min(options.count, READ_EVENTS))

            return grpc.unary_stream_rpc_method_handler(read)
        if method == "Append":
            return grpc.stream_unary_rpc_method_handler(
                answer_append,
                streams_pb2.AppendReq.FromString,
                streams_pb2.AppendResp.SerializeToString,
            )
        return grpc.stream_stream_rpc_method_handler(
            answer_batches,
            streams_pb2.BatchAppendReq.FromString,
            streams_pb2.BatchAppendResp.SerializeToString,
        )


def answer_append(requests: Iterator[Any], context: Any) -> Any:
    for _ in requests:
        pass
    answer = streams_pb2.AppendResp()
    answer.success.position.commit_position = 1
    return answer


def answer_batches(requests: Iterator[Any], context: Any) -> Iterator[Any]:
    for request in requests:
        answer = streams_pb2.BatchAppendResp(correlation_id=request.correlation_id)
        answer.success.position.commit_position = 1
        yield answer


def not_found_message() -> bytes:
    answer = streams_pb2.ReadResp()
    answer.stream_not_found.SetInParent()
    return answer.SerializeToString()


def example_message() -> bytes:
    event = streams_pb2.ReadResp.ReadEvent.RecordedEvent(
        id=shared_pb2.UUID(string="5b7d4a3e-6e0b-4b51-8bfb-1c2d3e4f5a6b"),
        stream_identifier=shared_pb2.StreamIdentifier(stream_name=b"read-1"),
        stream_revision=500,
        prepare_position=1_000_000,
        commit_position=1_000_000,
        metadata={
            "type": "Dog.TrickAdded",
            "created": "17601234567890123",
            "content-type": "application/json",
        },
        data=DATA,
    )
    return streams_pb2.ReadResp(
        event=streams_pb2.ReadResp.ReadEvent(event=event, commit_position=1_000_000)
    ).SerializeToString()


def serve_bare() -> None:
    server = grpc.server(ThreadPoolExecutor(50))
    server.add_generic_rpc_handlers((BareStreams(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on esdb://127.0.0.1:{port}?Tls=false", flush=True)
    server.wait_for_termination()


class Target:
    """
    One of the servers to be measured.
    """

    def __init__(self, name: str, uri: str) -> None:
        self.name = name
        self.uri = uri
        self.client = EventStoreDBClient(uri)
        self._channel = grpc.insecure_channel(
            uri.removeprefix("esdb://").partition("?")[0],
            # Without it the client, not the server, is what is measured.
            options=[(grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)],
        )
        self._appended = 0
        self._prefix = new_prefix()

    def fill(self) -> None:
        for number in range(READ_EVENTS // 1_000):
            self.client.append_events(
                f"{self._prefix}-read-{number}",
                current_version=StreamState.ANY,
                events=[NewEvent("Dog.TrickAdded", DATA) for _ in range(1_000)],
            )

    def close(self) -> None:
        self._channel.close()
        self.client.close()

    def read(self) -> int:
        read = self._channel.unary_stream(
            READ, request_serializer=streams_pb2.ReadReq.SerializeToString
        )
        options = streams_pb2.ReadReq.Options
        request = streams_pb2.ReadReq(
            options=options(
                all=options.AllOptions(start=shared_pb2.Empty()),
                count=READ_EVENTS,
                no_filter=shared_pb2.Empty(),
                uuid_option=options.UUIDOption(string=shared_pb2.Empty()),
            )
        )
        return sum(1 for _ in read(request))

    def read_by_client(self) -> int:
        return sum(1 for _ in self.client.read_all(limit=READ_EVENTS))

    def append_event(self) -> int:
        for _ in range(APPENDS):
            self._appended += 1
            self.client.append_event(
                f"{self._prefix}-one-{self._appended}",
                current_version=StreamState.NO_STREAM,
                event=NewEvent("Dog.Registered", DATA),
            )
        return APPENDS

    def append_events(self) -> int:
        for _ in range(APPENDS):
            self._appended += 1
            self.client.append_events(
                f"{self._prefix}-one-{self._appended}",
                current_version=StreamState.NO_STREAM,
                events=[NewEvent("Dog.Registered", DATA)],
            )
        return APPENDS


MEASURES: list[tuple[str, Callable[[Target], int]]] = [
    ("read, raw messages", Target.read),
    ("client.read_all", Target.read_by_client),
    ("client.append_event", Target.append_event),
    ("client.append_events, one each", Target.append_events),
]


def measure(targets: list[Target], rounds: int) -> None:
    header = "".join(f"{target.name:>14}" for target in targets)
    print(f"{'per second':34}{header}{'ratio':>8}")
    for title, call in MEASURES:
        rates: dict[str, list[float]] = {target.name: [] for target in targets}
        for _ in range(rounds):
            for target in targets:
                begin = time.perf_counter()
                done = call(target)
                rates[target.name].append(done / (time.perf_counter() - begin))
        medians = [statistics.median(rates[target.name]) for target in targets]
        columns = "".join(f"{median:>14,.0f}" for median in medians)
        print(f"{title:34}{columns}{medians[1] / medians[0]:>8.0%}")


def measure_subscribers(target: Target) -> None:
    """
    Append while many subscribers listen, and wait until all have everything.
    """
    clients = [EventStoreDBClient(target.uri) for _ in range(SUBSCRIBERS)]
    subscriptions = [client.subscribe_to_all(from_end=True) for client in clients]

    def receive(subscription: Any) -> None:
        for _ in range(APPENDS):
            next(subscription)

    threads = [
        threading.Thread(target=receive, args=(one,), daemon=True)
        for one in subscriptions
    ]
    for thread in threads:
        thread.start()
    begin = time.perf_counter()
    target.append_event()
    appended = time.perf_counter() - begin
    for thread in threads:
        thread.join()
    received = time.perf_counter() - begin
    for client in clients:
        client.close()
    print(
        f"{SUBSCRIBERS} subscribers: {APPENDS / appended:,.0f} appends/s,"
        f" {APPENDS * SUBSCRIBERS / received:,.0f} deliveries/s"
    )


def main(uri: str | None, rounds: int) -> None:
    """
    Measure and print.
    """
    server = "eventsourcing_eventstoredb.server"
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        data = str(Path(folder) / "events.db")
        targets = [
            Target(name, stack.enter_context(listening(*arguments)))
            for name, *arguments in (
                ("bare gRPC", "benchmarks.bench_server", "--bare"),
                ("in memory", server, "--port", "0"),
                ("on disk", server, "--port", "0", "--data", data),
            )
        ]
        if uri:
            targets.append(Target("at the URI", uri))
        for target in targets:
            stack.callback(target.close)
            target.fill()
        print("The ratio is of the server in memory to the bare one.")
        measure(targets, rounds)
        measure_subscribers(targets[1])


if __name__ == "__main__":
    parser = new_parser("server", __doc__)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        serve_bare()
    else:
        main(options.uri, 1 if options.quick else ROUNDS)
