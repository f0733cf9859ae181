from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from filelock import lock_descriptor

from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.server.daemon import main, stop
from eventsourcing_eventstoredb.server.pid_file import DaemonError, running_pid
from eventsourcing_eventstoredb.server.port_owner import port_owner
from tests.support.at_once import at_once
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamState,
)
from tests.support.suspending import suspend

Daemon = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def pid_file(tmp_path: Path) -> Iterator[Path]:
    """The pid file of servers that are killed if the test leaves them running."""
    file = tmp_path / "eventstore.pid"
    yield file
    with contextlib.suppress(DaemonError):
        if pid := running_pid(file):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def daemon(pid_file: Path) -> Daemon:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(sys.executable, "-m", "eventsourcing_eventstoredb.server.daemon"),
                *(*arguments, "--pid-file", str(pid_file)),
            ],
            stdin=subprocess.DEVNULL,
            # A server that kept these open would block the test.
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def uri_in(output: str) -> str:
    return output.split("listening on ")[1].split(",")[0]


def is_listening(uri: str) -> bool:
    address = urlsplit(uri)
    with socket.socket() as probe:
        return probe.connect_ex((address.hostname, address.port)) == 0


def test_starts_in_the_background_and_stops(daemon: Daemon, pid_file: Path):
    started = daemon("start", "--port", "0")

    assert started.returncode == 0
    assert started.stderr == ""
    pid = int(pid_file.read_text())
    assert f"as process {pid}" in started.stdout
    with EventStoreDBClient(uri_in(started.stdout)) as client:
        client.append_events(
            "s", current_version=StreamState.NO_STREAM, events=[NewEvent("T", b"{}")]
        )
    # Out of reach of the terminal's signals.
    assert os.getsid(pid) == pid

    stopped = daemon("stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert stopped.stdout == f"The event store, process {pid}, has stopped\n"
    assert not pid_file.exists()
    assert not is_listening(uri_in(started.stdout))


def test_starting_twice_leaves_the_first(daemon: Daemon, pid_file: Path):
    daemon("start", "--port", "0")
    pid = pid_file.read_text().strip()

    again = daemon("start", "--port", "0")

    assert again.returncode == 0
    assert again.stdout == f"The event store runs already, as process {pid}\n"
    assert pid_file.read_text().strip() == pid


def test_of_concurrent_starts_one_server_comes(daemon: Daemon, pid_file: Path):
    results = at_once(lambda number: daemon("start", "--port", "0"), 3)

    pid = running_pid(pid_file)
    assert [result.returncode for result in results] == [0, 0, 0]
    assert all(f"as process {pid}\n" in result.stdout for result in results)
    assert os.listdir(pid_file.parent) == [pid_file.name]


def test_stopping_what_does_not_run_is_no_error(daemon: Daemon, pid_file: Path):
    result = daemon("stop")

    assert result.returncode == 0
    assert result.stdout == f"The event store does not run: there is no {pid_file}\n"


def test_keeps_events_in_the_data_file(daemon: Daemon, tmp_path: Path):
    data = str(tmp_path / "events.db")
    started = daemon("start", "--port", "0", "--data", data)
    with EventStoreDBClient(uri_in(started.stdout)) as client:
        client.append_events(
            "s", current_version=StreamState.NO_STREAM, events=[NewEvent("T", b"{}")]
        )
    daemon("stop")

    started = daemon("start", "--port", "0", "--data", data)
    with EventStoreDBClient(uri_in(started.stdout)) as client:
        assert len(client.get_stream("s")) == 1


def test_another_program_is_not_stopped(daemon: Daemon, pid_file: Path):
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
    ) as stranger:
        pid_file.write_text(f"{stranger.pid}\n")

        result = daemon("stop")

        assert result.returncode == 0
        assert "does not run" in result.stdout
        assert f"process {stranger.pid}, if there is one, is another" in result.stdout
        assert not pid_file.exists()
        stranger.communicate(b"\n")
        assert stranger.returncode == 0


def test_who_just_asks_whether_a_server_runs_is_none(
    pid_file: Path, monkeypatch: pytest.MonkeyPatch
):
    pid_file.write_text("1\n")
    descriptor = os.open(pid_file, os.O_RDONLY)
    lock_descriptor(descriptor)
    # A client has its answer while the other one pauses.
    monkeypatch.setattr(time, "sleep", lambda seconds: os.close(descriptor))

    assert running_pid(pid_file) == 0


def test_starts_over_what_a_killed_server_left(daemon: Daemon, pid_file: Path):
    daemon("start", "--port", "0")
    pid = int(pid_file.read_text())
    os.kill(pid, signal.SIGKILL)
    # The lock ends with the process, maybe a moment after the signal.
    while running_pid(pid_file):
        pass

    result = daemon("start", "--port", "0")

    assert result.returncode == 0
    assert "listening on esdb://" in result.stdout
    assert int(pid_file.read_text()) != pid


def test_a_port_that_is_taken_is_one_line(daemon: Daemon, pid_file: Path):
    with EmbeddedServer() as server:
        result = daemon("start", "--port", str(server.port))

    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        f"Cannot listen on 127.0.0.1:{server.port}: Address already in use, by "
    )
    assert not pid_file.exists()


def test_the_command_that_stops_another_server_on_the_port_is_told(
    daemon: Daemon, pid_file: Path
):
    started = daemon("start", "--port", "0").stdout
    port = int(started.rpartition("?")[0].rpartition(":")[2])

    owner = port_owner(port)

    assert owner is not None
    assert f"as process {owner.pid}" in started
    assert owner.name.endswith("-m eventsourcing_eventstoredb.server.daemon serve")
    command = [sys.executable, *shlex.split(owner.stop)[1:]]
    subprocess.run(command, check=True, timeout=60)
    assert not pid_file.exists()
    assert port_owner(port) is None


def test_a_data_file_that_cannot_be_used_is_one_line(daemon: Daemon, tmp_path: Path):
    data = tmp_path / "notes.txt"
    data.write_text("remember the milk\n" * 100)

    result = daemon("start", "--port", "0", "--data", str(data))

    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Cannot use the data file {data}")


@pytest.mark.parametrize("command", ["start", "stop"])
@pytest.mark.parametrize("content", ["remember the milk\n", "", "-1", "1" * 40])
def test_a_file_that_is_no_pid_file_is_left_alone(
    pid_file: Path, capsys, command: str, content: str
):
    pid_file.write_text(content)

    assert main([command, "--port", "0", "--pid-file", str(pid_file)]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{pid_file} is not a pid file and is left as it is"
    assert pid_file.read_text() == content


def test_a_folder_that_does_not_exist_is_one_line(tmp_path: Path, capsys):
    file = tmp_path / "missing" / "eventstore.pid"

    assert main(["start", "--port", "0", "--pid-file", str(file)]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"Cannot write {file}: No such file or directory"


def test_a_server_that_does_not_end_is_said(daemon: Daemon, pid_file: Path):
    started = daemon("start", "--port", "0")
    pid = int(pid_file.read_text())
    suspend(pid)

    with pytest.raises(DaemonError, match=f"Process {pid} has not ended within 0 s"):
        stop(pid_file, timeout=0)

    os.kill(pid, signal.SIGCONT)
    assert daemon("stop").returncode == 0
    assert not is_listening(uri_in(started.stdout))
