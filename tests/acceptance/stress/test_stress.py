"""The short form of ``make stress``, in which each kind of disturbance comes up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.databases import SQLITE_URL
from tests.support.projects import ROOT, clean_environment
from tests.support.stress.disturbances import KINDS
from tests.support.stress.engine import Plan, run

DATABASE_URL = os.environ.get("DATABASE_URL", SQLITE_URL)

DISTURBANCES = 12


@pytest.mark.slow("disturbs projections a dozen times")
@pytest.mark.database
def test_rows_and_positions_agree_with_the_log_whatever_is_killed(
    tmp_path: Path,
) -> None:
    assert len(KINDS) <= DISTURBANCES

    outcome = run(
        DATABASE_URL,
        tmp_path,
        Plan(seed=4, disturbances=DISTURBANCES, workers=2, writers=2),
    )

    assert outcome.failure is None, outcome
    assert outcome.survived[
        "events in the log, and in the rows of each projection once"
    ]
    assert outcome.survived["checks of one moment"]


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.stress", *options]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--database", "oracle"), "unknown database 'oracle': give a URL, or one of"),
        (("--database", "postgres://nobody@127.0.0.1:1/none"), "not reachable"),
        (("--seconds", "soon"), "invalid number of seconds value: 'soon'"),
        (("--seconds", "-1"), "invalid number of seconds value: '-1'"),
        (("--seed", "x"), "invalid int value: 'x'"),
        (("--minutes", "2"), "unrecognized arguments: --minutes 2"),
    ],
)
def test_wrong_options_are_told_in_a_line(options: tuple[str, ...], says: str) -> None:
    result = subprocess.run(
        command(*options), cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert result.returncode == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing_running(
    number: signal.Signals, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        command("--database", "SQLite", "--seconds", "600"),
        cwd=ROOT,
        env={**clean_environment(), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        assert process.stdout.readline() == "=== SQLite\n"
        # All of them get it, as from a terminal.
        os.killpg(process.pid, number)
        process.stdout.read()
        assert process.wait(60) == 128 + number

    assert not list(tmp_path.iterdir())
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
