"""
What is used of grpcio though it is not documented: is it there, and still needed?

A failure says which part of ``protocol/private.py`` to look at.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.protocol import calls, messages, private
from eventsourcing_eventstoredb.protocol.batching import METHOD
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.projects import ROOT

ROUNDS = 20


@pytest.fixture
def start(server: EmbeddedServer) -> Iterator[Callable[[], Any]]:
    """Starts a subscription's call and takes its confirmation."""
    client = Client(parse_connection(server.uri))

    def start() -> Any:
        call = calls.start_read(
            client.connector.connection(), messages.subscription_request(None, None)
        )
        next(call)
        return call

    yield start
    client.close()


def known_calls() -> int:
    """Return how many calls gRPC knows of."""
    gc.collect()
    return sum(type(each).__name__ == "_CallState" for each in gc.get_objects())


def test_a_call_has_a_last_word_to_take(start: Callable[[], Any]) -> None:
    call = start()

    assert call._state.due
    assert callable(call._consume_next_event)
    calls.end_call(call)
    assert not call._state.due


def test_a_call_whose_last_word_is_not_taken_is_kept(start: Callable[[], Any]) -> None:
    """If it is not, ``take_the_last`` is not needed any more."""
    start().cancel()
    before = known_calls()
    for _ in range(ROUNDS):
        start().cancel()
    kept = known_calls() - before
    for _ in range(ROUNDS):
        calls.end_call(start())

    assert kept >= ROUNDS / 2
    assert known_calls() - before - kept < ROUNDS / 2


def own_threads() -> set[threading.Thread]:
    """Return all threads but the server's, which is in this process."""
    return {each for each in threading.enumerate() if "esdb-server" not in each.name}


def test_a_call_of_bytes_has_no_thread_and_one_in_public_has(
    server: EmbeddedServer,
) -> None:
    """If the public one has none, ``ByteCall`` is not needed any more."""
    client = Client(parse_connection(server.uri))
    connection = client.connector.connection()
    before = own_threads()
    arguments = connection.arguments(None)
    call = private.ByteCall(
        connection.channel, METHOD, arguments["metadata"], arguments["credentials"]
    )
    of_bytes = own_threads() - before
    requests: SimpleQueue[Any] = SimpleQueue()
    public = connection.streams.BatchAppend(iter(requests.get, None))
    in_public = own_threads() - before - of_bytes
    call.cancel()
    code, *_ = call.serve(lambda message: None, lambda: None)
    public.cancel()
    requests.put(None)
    client.close()

    assert code is grpc.StatusCode.CANCELLED
    assert not of_bytes
    assert in_public


@pytest.mark.skipif(sys.platform != "linux", reason="looks at threads in /proc")
def test_grpc_has_threads_of_these_names(server: EmbeddedServer) -> None:
    """If it has others, a fork is not held up any more until they have ended."""
    code = (
        "import contextlib, sys, threading, time\n"
        "from pathlib import Path\n"
        "from tests.support.client_library import EventStoreDBClient\n"
        "inherited = Path('/proc/self/comm').read_text()\n"
        "with EventStoreDBClient(sys.argv[1]) as client:\n"
        "    client.get_commit_position()\n"
        "    own = {thread.native_id for thread in threading.enumerate()}\n"
        "    end = time.monotonic() + 10\n"
        "    for task in Path('/proc/self/task').iterdir():\n"
        "        if int(task.name) in own: continue\n"
        "        # It may end meanwhile.\n"
        "        with contextlib.suppress(OSError):\n"
        "            # A thread names itself after it has begun.\n"
        "            while (name := (task / 'comm').read_text()) == inherited:\n"
        "                assert time.monotonic() < end\n"
        "                time.sleep(0.01)\n"
        "            print(name.strip())\n"
    )

    names = subprocess.check_output(
        [sys.executable, "-c", code, server.uri], text=True, cwd=ROOT
    )

    found = set(names.splitlines())
    assert found
    assert found <= private.GRPC_THREADS


ANSWERS = [b"one", b"two", b"three"]


@pytest.fixture
def answering() -> Iterator[Callable[[list[bytes], grpc.StatusCode], Any]]:
    """Starts a server with one method, and a call that it answers so."""
    server = grpc.server(ThreadPoolExecutor(1))
    channels: list[grpc.Channel] = []

    def answering(answers: list[bytes], status: grpc.StatusCode) -> Any:
        def method(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            yield from answers
            if status is not grpc.StatusCode.OK:
                context.abort(status, "as it was told to")

        handler = grpc.unary_stream_rpc_method_handler(method)
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("test", {"Method": handler})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        options = [(grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)]
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
        channels.append(channel)
        return channel.unary_stream("/test/Method", response_deserializer=bytes.decode)(
            b""
        )

    yield answering
    for channel in channels:
        channel.close()
    server.stop(0).wait()


Answering = Callable[[list[bytes], grpc.StatusCode], Any]


def functions_called(iterator: Iterator[Any]) -> int:
    """Return how many Python functions it takes to exhaust an iterator."""
    called = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal called
        called += event == "call"

    sys.setprofile(count)
    try:
        for _ in iterator:
            pass
    finally:
        sys.setprofile(None)
    return called


def test_messages_take_fewer_steps_than_the_call_itself(answering: Answering) -> None:
    """If they do not, ``messages`` is not needed any more."""
    call = answering(ANSWERS * 50, grpc.StatusCode.OK)
    half = len(ANSWERS) * 25
    of_the_call = functions_called(islice(call, half))
    of_messages = functions_called(islice(private.messages(call), half))

    assert type(call).__name__ == "_SingleThreadedRendezvous"
    assert of_messages < of_the_call * 2 / 3


def test_messages_are_those_of_the_call(answering: Answering) -> None:
    call = answering(ANSWERS, grpc.StatusCode.OK)

    assert list(private.messages(call)) == ["one", "two", "three"]
    assert call.code() is grpc.StatusCode.OK
    assert list(private.messages(call)) == []


def test_messages_end_with_the_error_of_the_call(answering: Answering) -> None:
    received = private.messages(answering(ANSWERS, grpc.StatusCode.ABORTED))

    assert [next(received) for _ in ANSWERS] == ["one", "two", "three"]
    with pytest.raises(grpc.RpcError, match="as it was told to") as caught:
        next(received)
    assert caught.value.code() is grpc.StatusCode.ABORTED


def test_a_message_that_cannot_be_read_ends_the_call(answering: Answering) -> None:
    received = private.messages(
        answering([b"one", b"\xff", b"two"], grpc.StatusCode.OK)
    )

    assert next(received) == "one"
    with pytest.raises(grpc.RpcError, match="deserializing") as caught:
        next(received)
    assert caught.value.code() is grpc.StatusCode.INTERNAL


def test_messages_end_when_the_call_is_cancelled(start: Callable[[], Any]) -> None:
    call = start()
    timer = threading.Timer(0.1, call.cancel)
    timer.start()

    with pytest.raises(grpc.RpcError) as caught:
        list(private.messages(call))
    timer.join()
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    calls.end_call(call)
    assert not call._state.due


def test_messages_of_another_kind_of_call_are_its_own() -> None:
    assert list(private.messages(iter(ANSWERS))) == ANSWERS
