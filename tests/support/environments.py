"""Environments of Python that have what a test has installed, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.projects import clean_environment


def variables() -> dict[str, str]:
    """Return this process's environment, in which Python keeps what it compiles."""
    ours = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    return {k: v for k, v in clean_environment().items() if k not in ours}


class Environment:
    """
    An environment of its own.

    Args:
        folder: Where it is made, and where its processes are started.
        base: The interpreter that it is made with.

    Attributes:
        python: Its interpreter.
    """

    def __init__(self, folder: Path, base: str = sys.executable) -> None:
        self.folder = folder
        subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
        self.python = folder / "bin" / "python"

    def copy(self, folder: Path) -> Environment:
        """
        Return another environment with the same in it, which shares its files.

        What pip replaces or removes in one stays in the other: it writes new files.
        """
        copied = Environment(folder)
        for library in (self.folder / "lib").glob("*/site-packages"):
            shutil.copytree(
                library,
                folder / library.relative_to(self.folder),
                copy_function=os.link,
                dirs_exist_ok=True,
            )
        return copied

    def try_to_install(self, *requirements: str) -> subprocess.CompletedProcess[str]:
        """Install packages; return what came of it."""
        # Compiling it all takes a third of the time, and most is never imported.
        return self._pip("install", "--no-compile", *requirements)

    def install(self, *requirements: str) -> None:
        """Install packages, from where pip's own settings say."""
        self._succeed(self.try_to_install(*requirements))

    def uninstall(self, *names: str) -> None:
        """Remove packages."""
        self._succeed(self._pip("uninstall", "--yes", *names))

    def run(self, *arguments: str) -> str:
        """Run its Python to the end; return what that printed."""
        return self._succeed(self.try_to_run(*arguments)).stdout

    def try_to_run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its Python to the end; return what came of it."""
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env={**variables(), "PYTHONWARNINGS": "error"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def _pip(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # The tests' own pip, as the environment has none.
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--quiet"]
        return subprocess.run([*pip, *arguments], capture_output=True, text=True)

    @staticmethod
    def _succeed(
        result: subprocess.CompletedProcess[str],
    ) -> subprocess.CompletedProcess[str]:
        assert result.returncode == 0, result.stdout + result.stderr
        return result
