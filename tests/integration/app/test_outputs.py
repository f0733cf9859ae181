"""Commands whose output goes where it is not read, or not all can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.projects import ROOT

CODE = """
import sys, django
sys.stdout = {stdout}
django.setup()
from django_esdb.management.base import SafeCommand

class Saying(SafeCommand):
    def handle(self, *args, **options):
        for _ in range({lines}):
            self.stdout.write({text!a} * 100)

Saying().run_from_argv(["manage.py", "saying"])
"""


def run(
    output: Any, *, lines: int = 1, text: str = "x", stdout: str = "sys.stdout"
) -> Any:
    """Run a command in a process of its own, whose output can have ASCII only."""
    code = CODE.format(stdout=stdout, lines=lines, text=text)
    return subprocess.run(
        [sys.executable, "-c", code],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "PYTHONIOENCODING": "ascii",
        },
    )


@pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="no file is full from the beginning"
)
@pytest.mark.parametrize(
    ("lines", "unbuffered"),
    # Noticed at the end, when enough is there, and with the first line.
    [(1, ""), (10_000, ""), (1, "1")],
)
def test_an_output_that_is_full_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, lines: int, unbuffered: str
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with open("/dev/full", "w") as full:
        result = run(full, lines=lines)

    assert result.returncode == 1
    assert result.stderr == ("The output cannot be written: No space left on device\n")


@pytest.mark.parametrize(
    ("stdout", "lines", "status", "said"),
    [
        # More than is kept until the end, and less.
        ("sys.stdout", 10_000, 1, "The output is not read any more\n"),
        ("sys.stdout", 1, 1, "The output is not read any more\n"),
        ("None", 1, 0, ""),
    ],
)
def test_an_output_that_nobody_reads_is_no_traceback(
    stdout: str, lines: int, status: int, said: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = run(writing, lines=lines, stdout=stdout)
    os.close(writing)

    assert (ended.returncode, ended.stderr) == (status, said)


def test_what_the_outputs_encoding_has_not_is_escaped() -> None:
    ended = run(subprocess.PIPE, text="é犬\ud800")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == r"\xe9\u72ac\ud800" * 100 + "\n"
