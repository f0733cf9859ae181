"""``make release-check``, without what takes minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import release
from tests.support.building import Built
from tests.support.projects import ROOT


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Anybody", "-c", "user.email=anybody@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True)


def test_only_what_is_committed_is_released(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "one.py").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "All")
    release.refuse_changes(tmp_path)
    (tmp_path / "another.py").touch()

    with pytest.raises(release.ReleaseError, match=r"^commit first: another\.py$"):
        release.refuse_changes(tmp_path)


@pytest.mark.parametrize(
    ("changelog", "is_missing"),
    [
        ("# Changelog\n\n## [1.2.0] - 2030-01-31\n\n### Added\n", False),
        ("# Changelog\n\n## [Unreleased]\n\n## [1.2.0a] - 2030-01-31\n", True),
        ("# Changelog\n\n## [1.2.0]\n", True),
    ],
)
def test_a_version_needs_a_section_in_the_changelog(
    changelog: str, is_missing: bool
) -> None:
    assert bool(release.missing_notes(changelog, "1.2.0")) == is_missing


def test_the_checkouts_packages_are_not_taken_for_the_installed_ones() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.support.installed", "--co", "-q"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "django_esdb is not the installed one" in result.stderr


def test_the_sdist_has_one_root(built: Built, tmp_path: Path) -> None:
    root = release.unpack(built.sdist, tmp_path)

    assert (root / "tests" / "conftest.py").is_file()
    assert (root / "PKG-INFO").is_file()


@pytest.mark.slow("installs what looks at metadata")
def test_the_package_index_takes_what_is_built(built: Built, tmp_path: Path) -> None:
    release.check_metadata(built, tmp_path / "tools")
