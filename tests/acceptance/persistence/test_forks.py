"""Forks, in processes of their own, with servers in others."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eventsourcing_eventstoredb.connection_settings import parse_connection
from eventsourcing_eventstoredb.protocol.clients import Client
from eventsourcing_eventstoredb.protocol.forking import Gate, gate
from eventsourcing_eventstoredb.protocol.private import GRPC_THREADS
from eventsourcing_eventstoredb.protocol.retrying import connected, wait_for_connection
from tests.support.certificates import make_certificate
from tests.support.event_stores import EventStore, server_process
from tests.support.projects import clean_environment

needs_proc = pytest.mark.skipif(
    sys.platform != "linux", reason="looks at threads in /proc"
)


def run(module: str, uri: str, **env: str) -> list[str]:
    """Run a module of this package; return the lines that it printed."""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"tests.support.{module}", uri],
        env={**clean_environment(), **env},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_a_fork_leaves_parent_and_child_able_to_continue() -> None:
    with server_process() as uri:
        *children, parent = run("forking", uri)

    assert parent == "parent: True 7"
    assert len(children) == 3
    assert all("belongs to the parent" in line for line in children)


def test_parent_and_child_give_events_other_ids() -> None:
    code = (
        "import os\n"
        "from eventsourcing_eventstoredb.protocol.event_ids import new_event_id\n"
        "new_event_id()\n"
        "child = os.fork()\n"
        "if child: os.waitpid(child, 0)\n"
        "for _ in range(200): print(new_event_id())\n"
    )
    ids = subprocess.check_output([sys.executable, "-c", code], text=True).split()

    assert len(ids) == 400
    assert len(set(ids)) == 400


@needs_proc
def test_at_a_fork_grpc_has_ended_and_keeps_off_the_files_of_the_child() -> None:
    with server_process() as uri:
        *children, threads = run("forked_files", uri)

    assert children == ["strays: []"] * 3
    assert not set(threads.removeprefix("threads: ").split(",")) & GRPC_THREADS


@needs_proc
def test_so_it_has_with_tls(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "server")
    options = (
        *("--tls-cert", str(certificate.file), "--tls-key", str(certificate.key_file)),
        *("--user", "admin:changeit"),
    )
    with server_process(*options) as uri:
        *children, threads = run(
            "forked_files",
            f"esdb://admin:changeit@{uri.rpartition('@')[2].removeprefix('esdb://')}",
            EVENTSTOREDB_ROOT_CERTIFICATES=str(certificate.file),
        )

    assert children == ["strays: []"] * 3
    assert not set(threads.removeprefix("threads: ").split(",")) & GRPC_THREADS


def test_forks_while_other_threads_save_and_read() -> None:
    with server_process() as uri:
        lines = run("forked_while_busy", uri)

    assert lines == ["children: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]", "parent: []"]


def test_nothing_enters_grpc_before_the_last_of_several_forks_is_over() -> None:
    gate = Gate()
    entered = threading.Event()

    def enter() -> None:
        with gate.inside():
            entered.set()

    assert gate.shut()
    assert gate.shut()
    thread = threading.Thread(target=enter)
    thread.start()
    gate.open()
    assert not entered.wait(0.2)
    gate.open()
    assert entered.wait(60)
    thread.join(60)


@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_who_waits_for_a_server_that_is_away_does_not_hold_up_a_fork(
    store: EventStore, ends: Callable[[EventStore], None]
) -> None:
    client = Client(parse_connection(store.uri))
    connected(client)
    ends(store)
    done = threading.Event()
    waiting = threading.Thread(
        target=wait_for_connection, args=[client, 600, done.is_set]
    )
    waiting.start()
    for _ in range(5):
        # In the midst of it.
        time.sleep(0.1)
        assert gate.shut()
        gate.open()
    done.set()
    waiting.join(60)
    client.close()
