from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.projects import ROOT

CONFTEST = 'pytest_plugins = ["eventsourcing_eventstoredb.server.pytest_plugin"]\n'
TESTS = """
from tests.support.client_library import EventStoreDBClient, NewEvent, StreamState

seen = []


def check(server):
    client = EventStoreDBClient(server.uri)
    assert client.get_commit_position() == 0
    event = NewEvent("Happened", b"{}")
    client.append_event("stream", current_version=StreamState.NO_STREAM, event=event)
    client.close()
    seen.append(server)


def test_one(eventstoredb_server):
    check(eventstoredb_server)


def test_other(eventstoredb_server):
    check(eventstoredb_server)
    assert seen[0] is not seen[1]
"""


def test_each_test_gets_an_empty_server(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)

    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:django", str(tmp_path)],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert "2 passed" in result.stdout, result.stdout + result.stderr
