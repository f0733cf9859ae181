"""Environments of Python that have what a test has installed, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.projects import clean_environment


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

    def try_to_install(self, *requirements: str) -> subprocess.CompletedProcess[str]:
        """Install packages; return what came of it."""
        return self._pip("install", *requirements)

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
            env={**clean_environment(), "PYTHONWARNINGS": "error"},
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
