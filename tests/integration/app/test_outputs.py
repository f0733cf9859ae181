"""Commands whose output goes where nobody reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
            self.stdout.write("x" * 100)

Saying().run_from_argv(["manage.py", "saying"])
"""


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
    tmp_path: Path, stdout: str, lines: int, status: int, said: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-c", CODE.format(stdout=stdout, lines=lines)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        },
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (status, said)
