"""
The sdist and the wheel of this checkout, as front ends of Python have them built.

pip would install the build system once more to build the wheel, which is most of it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.projects import ROOT

# As PEP 517 has it: in the folder of the checkout, and in that of the unpacked sdist.
_BUILD = """
import os, shutil, sys
from poetry.core.masonry import api
folder = sys.argv[1]
sdist = api.build_sdist(folder)
shutil.unpack_archive(os.path.join(folder, sdist), os.path.join(folder, "unpacked"))
os.chdir(os.path.join(folder, "unpacked", sdist.removesuffix(".tar.gz")))
api.build_wheel(folder)
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
    install = [sys.executable, "-m", "pip", "--quiet", "install", "--no-compile"]
    installed = subprocess.run(
        [*install, "--target", system, *requires], capture_output=True, text=True
    )
    if installed.returncode:
        raise NoBuildSystemError(installed.stderr)
    copy_tracked(folder / "checkout")
    subprocess.run(
        # With nothing but the build system.
        [sys.executable, "-S", "-c", _BUILD, folder],
        cwd=folder / "checkout",
        env={"PYTHONPATH": str(system)},
        check=True,
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
