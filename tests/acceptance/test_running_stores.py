"""``pytest --store``: tests on an event store that runs, and has what others write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.event_stores import listening
from tests.support.projects import ROOT

# Of both packages, in this process and in others.
SOME = (
    "tests/integration/persistence/test_new_streams.py",
    "tests/integration/app/test_runner.py",
    "tests/acceptance/app/test_runprojections.py::test_runs_from_an_event_to_a_row",
    "tests/integration/server/test_users.py",
)
LEFT_OUT = (
    "is about the embedded server",
    "needs an event store of its own: no other client may write meanwhile",
    "needs no event store, or makes one of its own",
    "stops, kills or freezes its event store",
)


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    """Of a server with TLS and a user that others write to all the time."""
    certificate = make_certificate(tmp_path, "server")
    users = tmp_path / "users"
    users.write_text("admin:changeit")
    options = (
        *("--port", "0", "--users-file", str(users)),
        *("--tls-cert", str(certificate.file), "--tls-key", str(certificate.key_file)),
    )
    with listening("tests.support.other_server", *options) as listens:
        address = listens.partition("//")[2].partition("?")[0]
        uri = f"esdb://admin:changeit@{address}?TlsCaFile={certificate.file}"
        writer = [sys.executable, "-m", "tests.support.foreign_events", uri]
        with subprocess.Popen([*writer, "--count", "500", "--every", "0.2"]) as others:
            yield uri
            assert others.poll() is None
            others.kill()


def run(uri: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as ``make test-store`` does."""
    # Not as a part of this run.
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    env.pop("DATABASE_URL", None)
    command = [sys.executable, "-m", "pytest", "--store", uri, "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=env, capture_output=True, text=True
    )


@pytest.mark.slow("runs dozens of tests in other processes")
def test_tests_run_on_a_store_that_others_write_to(uri: str) -> None:
    result = run(uri, "-n", "2", *SOME)

    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
    _, heading, summary = result.stdout.partition("left out with an event store")
    assert heading
    told = [line.strip().partition(" ") for line in summary.splitlines()]
    assert set(LEFT_OUT) <= {reason for number, _, reason in told if number.isdigit()}


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("esdb://127.0.0.1:9?Tls=false", "failed to connect to all addresses"),
        ("esdb://127.0.0.1:9", "TLS is on and needs a user name and a password"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line(uri: str, says: str) -> None:
    result = run(uri, SOME[0])

    assert result.returncode == 4
    [line] = [each for each in result.stderr.splitlines() if each]
    assert line.startswith("ERROR: --store: ")
    assert says in line
