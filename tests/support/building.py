"""The sdist and the wheel of this checkout, built as front ends of Python do."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.projects import ROOT

_SDIST = """
import sys
from poetry.core.masonry import api
api.build_sdist(sys.argv[1])
"""


class NoBuildSystemError(Exception):
    """The build system can neither be found nor installed here."""


@dataclass(frozen=True)
class Built:
    """
    What is published of a version.

    Attributes:
        sdist: The archive of the source.
        wheel: What was built of that archive.
    """

    sdist: Path
    wheel: Path


def pyproject() -> dict[str, Any]:
    """Return what pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked() -> list[str]:
    """Return the files that belong to this checkout; none in an archive of the code."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    names = filter(None, listed.stdout.decode().split("\0"))
    return sorted(name for name in names if (ROOT / name).is_file())


def copy_tracked(folder: Path) -> None:
    """Copy the files that belong to this checkout, as they are, to a new folder."""
    if not tracked():
        shutil.copytree(
            ROOT,
            folder,
            ignore=shutil.ignore_patterns("__pycache__", ".venv", ".tox", "dist"),
        )
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)


def build(folder: Path) -> Built:
    """
    Build the sdist of this checkout, and the wheel of the sdist.

    What is in the checkout's folders and ignored by git, such as a file with
    passwords, is in neither.

    Raises:
        NoBuildSystemError: If the build system cannot be installed.
    """
    requires = pyproject()["build-system"]["requires"]
    system = folder / "build-system"
    pip = [sys.executable, "-m", "pip", "--quiet"]
    installed = subprocess.run(
        [*pip, "install", "--target", system, *requires], capture_output=True, text=True
    )
    if installed.returncode:
        raise NoBuildSystemError(installed.stderr)
    copy_tracked(folder / "checkout")
    subprocess.run(
        [sys.executable, "-c", _SDIST, folder],
        cwd=folder / "checkout",
        env={"PYTHONPATH": str(system)},
        check=True,
    )
    (sdist,) = folder.glob("*.tar.gz")
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", folder, sdist], check=True
    )
    built = built_in(folder)
    assert built is not None
    return built


def built_in(folder: Path) -> Built | None:
    """Return what has been built in a folder, if both are there."""
    sdists, wheels = list(folder.glob("*.tar.gz")), list(folder.glob("*.whl"))
    if not (sdists and wheels):
        return None
    (sdist,), (wheel,) = sdists, wheels
    return Built(sdist, wheel)
