"""The demo as one process with children, as ``make demo`` runs it."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.support.client_library import EventStoreDBClient
from tests.support.patience import wait_until
from tests.support.projects import ROOT, clean_environment

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="the demo's processes are looked at with ps"
)


class RunningDemo:
    """A demo that has said where everything is."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "example_project", "--folder", folder),
                *(arguments or ("--port", "0", "--event-store-port", "0")),
            ],
            env=clean_environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())
            if line.startswith("Ctrl-C"):
                break
        self.children = children_of(self.process.pid)

    def __getitem__(self, label: str) -> str:
        """Return what stands behind a label."""
        (line,) = (line for line in self.said if line.startswith(label))
        return line.removeprefix(label).strip()

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; return the exit status and what was printed since."""
        self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, output, errors

    def has_children(self) -> bool:
        return are_running(self.children)


def children_of(parent: int) -> dict[int, str]:
    lines = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    fields = [line.split(None, 2) for line in lines]
    return {
        int(pid): arguments
        for pid, ppid, arguments in fields
        if int(ppid) == parent and "demo.child_main" in arguments
    }


def are_running(pids: Iterable[int]) -> bool:
    """Tell whether any of these processes runs."""
    states = subprocess.run(
        ["ps", "-o", "stat=", "-p", ",".join(map(str, pids))],
        capture_output=True,
        text=True,
    ).stdout.split()
    return any(not state.startswith("Z") for state in states)


def read(url: str) -> str:
    with urlopen(url) as response:
        return response.read().decode()


Start = Callable[..., RunningDemo]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a + b #1"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    demos = []

    def start(*arguments: str) -> RunningDemo:
        demos.append(RunningDemo(folder, *arguments))
        return demos[-1]

    yield start
    for demo in demos:
        with demo.process:
            demo.process.terminate()


def let_the_admin_in(demo: RunningDemo) -> None:
    """Log in with the password that was printed, and which no other user can read."""
    code = (
        "import django, sys; django.setup()\n"
        "from django.contrib.auth import authenticate\n"
        "print(authenticate(username=sys.argv[1], password=sys.argv[2]).is_superuser)"
    )
    arguments = [sys.executable, "-c", code, demo["User"], demo["Password"]]
    database = str(demo.folder / "site.sqlite3").replace(" ", "%20")
    env = {
        **clean_environment(),
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "DATABASE_URL": f"sqlite:///{database.replace('+', '%2B').replace('#', '%23')}",
    }

    assert subprocess.check_output(arguments, env=env, cwd=ROOT) == b"True\n"
    for name in ("admin-password", "secret-key"):
        assert stat.S_IMODE((demo.folder / name).stat().st_mode) == 0o600
    assert len(demo["Password"]) >= 12


def refuse_another(demo: RunningDemo) -> None:
    """Start a second one, which its folder is refused."""
    second = RunningDemo(demo.folder)

    with second.process:
        status = second.process.wait(timeout=60)
        (line,) = second.process.stderr.read().splitlines()
    assert status == 1
    assert line.startswith("Another demo uses the folder ")
    assert f"process {demo.process.pid}: stop it first" in line
    assert demo.has_children()


def test_shows_a_seeded_school_and_stops_with_all_its_parts(start: Start):
    """All in one, since each demo takes seconds to start."""
    demo = start()

    assert len(demo.children) == 3
    assert demo.has_children()
    wait_until(lambda: '<dd id="dogs">12</dd>' in read(demo["Web site"]))
    assert '<dd id="tricks">48</dd>' in read(demo["Web site"])
    assert "font:" in read(demo["Web site"] + "static/training_school/style.css")
    with EventStoreDBClient(demo["Event store"]) as client:
        assert client.get_commit_position() > 0
    let_the_admin_in(demo)
    refuse_another(demo)

    status, output, errors = demo.end()
    assert (status, errors) == (0, "")
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("Stopped.")
    assert not demo.has_children()


@pytest.mark.slow("starts five processes and waits for what they do")
def test_projections_are_in_the_states_that_an_operator_meets(start: Start):
    demo = start()
    page = read(demo["Web site"])
    assert f'href="/{demo["Dashboard"].removeprefix(demo["Web site"])}"' in page

    def ask(sql: str) -> list[tuple[Any, ...]]:
        path = demo.folder / "site.sqlite3"
        with closing(sqlite3.connect(path, timeout=60)) as database:
            return database.execute(sql).fetchall()

    # It has put events aside, which failed and which come after those.
    failed = (
        "SELECT count(nullif(error, '')), count(*) FROM django_esdb_failedevent "
        "WHERE projection = 'CertificatesProjection'"
    )
    wait_until(lambda: 0 < ask(failed)[0][0] < ask(failed)[0][1])
    # It is paused, and behind.
    tracked = (
        "SELECT {} FROM django_esdb_projectiontracking WHERE projection = "
        "'{}Projection'"
    )
    assert ask(tracked.format("state, position", "Newcomers")) == [("paused", None)]
    # A rebuild is requested, which is done.
    noted = "SELECT count(*) FROM django_admin_log WHERE change_message LIKE 'Rebuild%'"
    requested = tracked.format("rebuild_requested_at", "PopularTricks")
    counted = "SELECT sum(dogs) FROM showcase_populartrick"
    assert ask(noted) == [(1,)]
    wait_until(lambda: ask(requested) == [(None,)] and ask(counted) == [(48,)])


@pytest.mark.slow("starts two demos, of five processes each")
def test_a_second_run_continues_from_the_same_data(start: Start):
    first = start()
    with EventStoreDBClient(first["Event store"]) as client:
        events = [event.id for event in client.read_all()]
    password = first["Password"]
    # As Ctrl-C does.
    status, _, errors = first.end(signal.SIGINT)
    assert (status, errors) == (0, "")
    assert not first.has_children()

    second = start()

    assert second["Password"] == password
    with EventStoreDBClient(second["Event store"]) as client:
        assert [event.id for event in client.read_all()] == events
    assert '<dd id="dogs">12</dd>' in read(second["Web site"])
    # As a terminal does that is closed.
    status, _, errors = second.end(signal.SIGHUP)
    assert (status, errors) == (0, "")
    assert not second.has_children()


@pytest.mark.slow("starts two demos, of five processes each")
def test_a_port_that_is_taken_gives_another_one(start: Start):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]

        demo = start("--port", str(port), "--event-store-port", str(port))

        assert any(
            line.startswith(f"Port {port} is taken by process {os.getpid()} (")
            and f", which «kill {os.getpid()}» stops: the web site gets port " in line
            for line in demo.said
        )
        assert f":{port}" not in demo["Event store"]
        assert "<h1>Dogs</h1>" in read(demo["Web site"])


@pytest.mark.slow("starts five processes and waits for their end")
@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("runeventstore", "event store"),
        ("runprojections", "projections"),
        ("runserver", "web site"),
    ],
)
def test_a_part_that_dies_is_named_and_ends_the_others(
    start: Start, command: str, name: str
):
    demo = start()
    (pid,) = (pid for pid, args in demo.children.items() if command in args)

    os.kill(pid, signal.SIGKILL)
    _, errors = demo.process.communicate(timeout=60)

    assert demo.process.returncode == 1
    assert errors.startswith(f"The demo has ended: {name} was ended by SIGKILL: ")
    assert not demo.has_children()


@pytest.mark.slow("starts five processes and waits for their end")
def test_no_part_survives_a_killed_demo(start: Start):
    demo = start()

    demo.process.kill()

    wait_until(lambda: not demo.has_children())


@pytest.mark.slow("starts five processes and waits for their end")
def test_ends_when_its_output_is_not_read(start: Start):
    demo = start()
    demo.process.stdout.close()

    # The web site's log of requests is the next thing to be said.
    read(demo["Web site"])

    assert demo.process.wait(timeout=60) == 0
    assert demo.process.stderr.read() == ""
    assert not demo.has_children()


@pytest.mark.parametrize(
    "arguments", [("-m", "example_project"), ("manage.py", "check")]
)
def test_without_its_packages_it_says_what_installs_them(
    arguments: tuple[str, ...], tmp_path: Path
):
    venv.create(tmp_path / "bare", with_pip=False)

    result = subprocess.run(
        [tmp_path / "bare" / "bin" / "python", *arguments],
        cwd=ROOT,
        env=clean_environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )

    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("The example needs django, environ, ")
    assert line.endswith('run python -m pip install -e ".[demo]" in the checkout')


def test_a_folder_that_cannot_be_made_is_one_line(folder: Path):
    folder.write_text("in the way")

    result = subprocess.run(
        [sys.executable, "-m", "example_project", "--folder", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert result.returncode == 1
    assert result.stderr == f"Cannot use the folder {folder}: File exists\n"


def test_a_data_file_that_is_none_is_said(folder: Path, start: Start):
    folder.mkdir()
    (folder / "events.db").write_text("remember the milk\n" * 100)

    demo = start()

    assert demo.process.wait(timeout=60) == 1
    errors = demo.process.stderr.read()
    assert errors.startswith("The demo has ended: event store ended with exit status 1")
    assert "file is not a database" in errors
    assert "Traceback" not in errors


def test_a_database_that_is_none_is_said(folder: Path, start: Start):
    folder.mkdir()
    (folder / "site.sqlite3").write_text("remember the milk\n" * 100)

    demo = start()

    assert demo.process.wait(timeout=60) == 1
    errors = demo.process.stderr.read()
    assert errors.startswith("The demo has ended: the site's database cannot be used")
    assert "Traceback" not in errors
    assert not demo.has_children()
