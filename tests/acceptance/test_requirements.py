"""What is installed is written down with hashes, and can be asked about."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.projects import ROOT

REQUIREMENTS = ROOT / "requirements"
WRITTEN_DOWN = sorted(REQUIREMENTS.glob("*-*.txt"))
# How many packages each file has at least.
FEWEST = {"constraints": 50, "demo": 10, "docs": 20}

_PIN = re.compile(r"[a-z0-9._-]+==[^\s;]+( \\\n    --hash=sha256:[0-9a-f]{64})+")


@pytest.mark.parametrize("path", WRITTEN_DOWN, ids=lambda path: path.stem)
def test_each_package_has_a_version_and_hashes_and_no_index(path: Path) -> None:
    first, _, text = path.read_text().partition("\n")

    pins = re.split(r"\n(?=\S)", text.strip())

    assert first.startswith("# ")
    assert len(pins) > FEWEST[path.stem.partition("-")[0]]
    assert [pin for pin in pins if not _PIN.fullmatch(pin)] == []


def test_each_python_has_every_file() -> None:
    versions = {name: set() for name in FEWEST}
    for path in WRITTEN_DOWN:
        name, _, version = path.stem.partition("-")
        versions[name].add(version)

    assert len({frozenset(each) for each in versions.values()}) == 1


def test_the_demo_takes_a_part_of_what_tests_take_in_the_same_versions() -> None:
    for path in REQUIREMENTS.glob("demo-*.txt"):
        others = path.with_name(path.name.replace("demo", "constraints"))
        pins, all_pins = (
            set(re.split(r"\n(?=\S)", each.read_text().strip()))
            for each in (path, others)
        )
        assert pins < all_pins
        assert not {"mysqlclient", "pytest", "uwsgi"} & {p.split("=")[0] for p in pins}


@pytest.mark.parametrize(
    ("says", "code", "status", "expected"),
    [
        ("No known vulnerabilities found", 0, 0, "no known vulnerabilities"),
        ("Found 1 known vulnerability in 1 package\nsix 1", 1, 1, "six 1"),
        (
            "Traceback\n  ...\nConnectionError: no network\n",
            1,
            2,
            "audit: the advisory service cannot be asked: ConnectionError: no network",
        ),
    ],
)
def test_an_audit_says_what_came_of_it(
    tmp_path: Path, says: str, code: int, status: int, expected: str
) -> None:
    (tmp_path / "pip_audit.py").write_text(
        f"import sys\nif '--version' not in sys.argv: print({says!r}); sys.exit({code})"
    )

    result = subprocess.run(
        [REQUIREMENTS / "audit", sys.executable],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert result.returncode == status
    assert expected in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
