"""``make lint`` looks at what is tracked at the root."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import root


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "unused", "docs/unused"):
        (tmp_path / name).touch()
    return tmp_path


def track(repository: Path, *names: str) -> None:
    subprocess.run(["git", "add", *names], cwd=repository, check=True)


def test_what_is_listed_belongs_there(repository: Path) -> None:
    track(repository, "README.md", "docs/unused")

    assert root.main(repository) == ""


def test_what_is_not_listed_is_named(repository: Path) -> None:
    track(repository, ".")

    said = root.main(repository)

    assert "root.py: unused. " in said
    assert "docs" not in said


def test_an_archive_has_nothing_to_look_at(tmp_path: Path) -> None:
    assert root.main(tmp_path) == ""
