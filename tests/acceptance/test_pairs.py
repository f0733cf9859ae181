"""Which versions ``make test-pairs`` runs; tox and the metadata name the same."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import pairs
from tests.support.projects import ROOT

PAIRS = ["py311-django52", "py312-django52", "py312-django60", "py312-django52-other"]


def test_each_version_is_in_a_pair_and_no_more_pairs_than_that_takes() -> None:
    assert pairs.pick(PAIRS, ()) == ["py312-django52-other", "py311-django52", PAIRS[2]]


def test_what_is_covered_needs_no_pair() -> None:
    assert pairs.pick(PAIRS, {"py311", "django52"}) == [PAIRS[2], PAIRS[3]]
    assert pairs.pick(PAIRS[:1], {"py311", "django52"}) == []


def test_a_pair_whose_python_is_not_there_is_told_and_not_run() -> None:
    names, missing = pairs.plan(
        ["py390-django00", "py391-django00-other"], {"3.91": "python3.91"}
    )

    assert names == ["py391-django00-other-quick"]
    assert missing == ["py390-django00"]


def test_interpreters_that_do_not_run_are_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python3.15"
    broken.write_text("#!/bin/sh\necho not selected >&2\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))

    assert pairs.find_pythons(["3.15"]) == {}


def versions(pattern: str, text: str) -> set[str]:
    return {".".join(found) for found in re.findall(pattern, text)}


def test_metadata_tox_and_makefile_name_the_same_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    classifiers = "\n".join(project["classifiers"])
    environments = subprocess.check_output(
        [sys.executable, "-m", "tox", "list", "--no-desc"], cwd=ROOT, text=True
    )
    pythons = versions(r"Python :: (\d)\.(\d+)", classifiers)
    djangos = versions(r"Django :: (\d)\.(\d)", classifiers)

    assert versions(r"py(\d)(\d+)-", environments) == pythons
    assert versions(r"django(\d)(\d)", environments) == djangos
    first, *_, last = sorted(pythons, key=lambda version: int(version[2:]))
    assert project["requires-python"] == f">={first},<3.{int(last[2:]) + 1}"
    makefile = (ROOT / "Makefile").read_text()
    assert f"({first.replace('.', ', ')}) <= sys.version_info" in makefile
    assert f"sys.version_info < (3, {int(last[2:]) + 1})" in makefile
    assert f"needs Python {first} to {last} " in makefile
    assert all(f"python{version}" in makefile for version in pythons)


def test_pairs_have_a_part_of_what_tests_take_in_the_same_versions() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]

    assert set(groups["pairs"]) < set(groups["dev"])
