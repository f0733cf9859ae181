from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from eventsourcing_eventstoredb.server.cli import main
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamState,
)

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    processes = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "eventsourcing_eventstoredb.server", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def uri_of(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline()
    assert line.startswith("listening on esdb://"), process.stderr.read()
    return line.removeprefix("listening on ").strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_it_cleanly(start: Start, number: signal.Signals):
    process = start("--port", "0")
    with EventStoreDBClient(uri_of(process)) as client:
        subscription = client.subscribe_to_all()
        process.send_signal(number)

        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""
        subscription.stop()


def test_keeps_its_events_in_the_data_file(start: Start, tmp_path: Path):
    file = tmp_path / "events.db"
    process = start("--port", "0", "--data", str(file))
    with EventStoreDBClient(uri_of(process)) as client:
        client.append_events(
            "dog", current_version=StreamState.NO_STREAM, events=[NewEvent("T", b"{}")]
        )
    process.terminate()
    process.wait(timeout=20)

    with EventStoreDBClient(
        uri_of(start("--port", "0", "--data", str(file)))
    ) as client:
        assert [event.type for event in client.get_stream("dog")] == ["T"]


def test_a_port_in_use_is_one_line(start: Start):
    with EmbeddedServer() as server:
        process = start("--port", str(server.port))
        _, stderr = process.communicate(timeout=20)

    assert process.returncode == 1
    (line,) = stderr.splitlines()
    assert line.startswith(
        f"Cannot listen on 127.0.0.1:{server.port}: Address already in use, by process"
        f" {os.getpid()} ("
    )
    assert line.endswith(
        f"). Stop it with «kill {os.getpid()}», or choose another port."
    )


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_does_not_exist_is_one_line(port, capsys):
    assert main(["--port", port]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"There is no port {port}: give one from 0 to 65535."


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("no\x1b[31m\nwhere", "no\\x1b[31m where"),
        ("a..b", "a..b"),
        ("x" * 300, "x" * 300),
        ("", ""),
    ],
    ids=["with a colour", "with an empty part", "too long", "empty"],
)
def test_a_host_that_can_be_none_is_one_line(host, shown, capsys):
    assert main(["--insecure", "--port", "0", "--host", host]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Cannot listen on {shown}:0: ")
    assert line.endswith(". Choose another host or port.")


def test_a_file_with_a_hostile_name_is_one_line(tmp_path, capsys):
    assert main(["--port", "0", "--data", str(tmp_path / "\x1b[2J\n" / "file")]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()


def test_a_file_that_is_no_database_is_one_line_and_left_alone(tmp_path, capsys):
    file = tmp_path / "notes.txt"
    file.write_text("remember the milk\n" * 100)

    assert main(["--port", "0", "--data", str(file)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Cannot use the data file {file}: file is not a database.")
    assert file.read_text() == "remember the milk\n" * 100


def test_the_database_of_another_program_is_one_line(tmp_path, capsys):
    file = tmp_path / "other.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE dogs (name)")
    connection.close()

    assert main(["--port", "0", "--data", str(file)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"The file {file} is the database of another program.")


def test_a_newer_format_is_one_line_and_left_alone(tmp_path, capsys):
    file = tmp_path / "events.db"
    EmbeddedServer(data=file).start().stop()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = file.read_bytes()

    assert main(["--port", "0", "--data", str(file)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "has format version 99" in line
    assert file.read_bytes() == before


def test_a_file_in_use_is_one_line(tmp_path, capsys):
    file = tmp_path / "events.db"
    with EmbeddedServer(data=file):
        assert main(["--port", "0", "--data", str(file)]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"The data file {file} is in use by another server, process "
    )


def test_a_folder_that_does_not_exist_is_one_line(tmp_path, capsys):
    file = tmp_path / "missing" / "events.db"

    assert main(["--port", "0", "--data", str(file)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"Cannot use the data file {file}: No such file or directory."


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    tmp_path.chmod(0o500)
    file = tmp_path / "events.db"

    assert main(["--port", "0", "--data", str(file)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"Cannot use the data file {file}: Permission denied."


def test_users_without_tls_are_one_line(capsys):
    assert main(["--port", "0", "--user", "admin:secret"]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Users need TLS")
    assert "secret" not in line


def test_a_user_without_a_colon_is_not_repeated(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--user", "hunter2"])

    assert exit_.value.code == 2
    assert "hunter2" not in capsys.readouterr().err


def test_the_help_says_what_production_runs(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])

    assert "Production runs EventStoreDB itself" in " ".join(
        capsys.readouterr().out.split()
    )
