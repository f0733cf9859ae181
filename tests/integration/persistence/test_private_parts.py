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
