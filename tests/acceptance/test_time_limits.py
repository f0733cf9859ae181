"""What hangs ends, and says where, whatever has become of pytest's own limit."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.projects import ROOT

CONFTEST = """
from tests.support.time_limits import TimeLimits


def pytest_configure(config):
    config.pluginmanager.register(TimeLimits(1.0))
"""
FAILS_AND_HANGS = """
import threading

import pytest


@pytest.fixture
def hanging():
    yield
    threading.Event().wait()


def test_it(hanging):
    assert False
"""
TAKES_THE_TIMER = """
import faulthandler
import re


def test_it():
    faulthandler.dump_traceback_later(600)
    faulthandler.cancel_dump_traceback_later()
    # No other thread runs meanwhile.
    re.match("(a+)+$", "a" * 64 + "b")
"""


@pytest.mark.parametrize("text", [FAILS_AND_HANGS, TAKES_THE_TIMER])
def test_a_test_that_hangs_ends_the_process(text: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(text)

    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:django", "-c", "/dev/null"),
            *("--rootdir", tmp_path, tmp_path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode == -signal.SIGALRM
    assert 'test_it.py", line' in ended.stderr
