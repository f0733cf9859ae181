"""How benchmarks are called; what they measure is for people to look at."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.projects import ROOT

NAMES = [
    file.stem.removeprefix("bench_")
    for file in sorted((ROOT / "benchmarks").glob("bench_*.py"))
]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_each_and_runs_none() -> None:
    result = run("benchmarks", "--help")

    assert result.returncode == 0
    assert NAMES
    for name in NAMES:
        assert f"\n  {name} " in result.stdout
    assert "--uri" in result.stdout
    assert "===" not in result.stdout


def test_an_unknown_one_is_refused_before_any_runs() -> None:
    result = run("benchmarks", "server", "reeding")

    assert result.returncode == 2
    assert "no benchmark 'reeding': there are leaks, " in result.stderr
    assert not result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_each_takes_the_address_of_a_server_that_runs(name: str) -> None:
    result = run(f"benchmarks.bench_{name}", "--help")

    assert result.returncode == 0, result.stderr
    assert "--uri URI" in result.stdout
    assert f"python -m benchmarks.bench_{name}" in result.stdout


def test_none_needs_the_tests() -> None:
    for file in (ROOT / "benchmarks").rglob("*.py"):
        assert "tests" not in {
            words[1].partition(".")[0]
            for line in file.read_text().splitlines()
            if len(words := line.split()) > 1 and words[0] in ("from", "import")
        }, file
