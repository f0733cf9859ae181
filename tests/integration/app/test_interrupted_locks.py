"""Signals that interrupt the main thread while it has a lock."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from django_esdb.registry import Registration
from django_esdb.runner import Options, Worker
from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.server.cli import serve_until_stopped
from tests.support.patience import wait_until

pytestmark = pytest.mark.any_database


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_stops(number: signal.Signals) -> None:
    stopped = threading.Event()
    said = []

    def write(line: str) -> None:
        # As when it waits for the event.
        with stopped._cond:
            signal.raise_signal(number)
        said.append(line)

    serve_until_stopped(EmbeddedServer(), write, stopped)

    assert len(said) == 1


@pytest.mark.skipif(
    not hasattr(threading, "_shutdown_locks_lock"), reason="newer Pythons have none"
)
def test_a_worker_stops_while_it_notes_the_end_of_a_thread(
    school_projection: Registration,
) -> None:
    worker = Worker([school_projection], Options())
    lock: Any = threading._shutdown_locks_lock  # type: ignore[attr-defined]

    with worker._stopped_by_signals():
        # As when it joins one. A thread that is started waits for it, too.
        with lock:
            signal.raise_signal(signal.SIGTERM)
        wait_until(lambda: worker.was_stopped)
