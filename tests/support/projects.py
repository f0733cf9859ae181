"""The example project as separate processes, as users run it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.databases import query
from tests.support.fork_server import popen
from tests.support.set_up_forks import SETUP

ROOT = Path(__file__).resolve().parents[2]

# Files with the tables of read models, by the apps that are installed.
_migrated_reports: dict[str, bytes] = {}


@dataclass
class Project:
    """
    A project with a database of its own.

    Attributes:
        env: Environment of its processes; tests may change it.
        manage_py: The script that runs its commands.
    """

    env: dict[str, str]
    manage_py: Path = field(default=ROOT / "manage.py")

    def manage(
        self, *arguments: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        result = self._run([str(self.manage_py), *arguments], timeout)
        if check:
            assert result.returncode == 0, result.stdout + result.stderr
        return result

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a management command; the caller ends it."""
        return popen([str(self.manage_py), *arguments], self.env, ROOT)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run a management command until the block ends, which kills it."""
        with self.start(*arguments) as process:
            try:
                yield process
            finally:
                # Leaving the outer block waits for the process to end.
                process.kill()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what a query finds in the project's database."""
        return query(self.env["DATABASE_URL"], sql)

    def position(self) -> int | None:
        """Return the position of the one projection, if there is one."""
        rows = self.query("SELECT position FROM django_esdb_projectiontracking")
        return rows[0][0] if rows else None

    def python(self, code: str, *, fresh: bool = False) -> str:
        """
        Run code with Django set up; return what it printed.

        Args:
            code: What is run.
            fresh: Whether only what it imports itself may be imported.
        """
        result = self._run(["-c", SETUP + code], timeout=60, fresh=fresh)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def _run(
        self, arguments: list[str], timeout: float, *, fresh: bool = False
    ) -> subprocess.CompletedProcess[str]:
        with popen(arguments, self.env, ROOT, fresh=fresh) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def move_to_reports(project: Project, folder: Path) -> None:
    """Have a project keep its read models in another database, which is made there."""
    project.env["DJANGO_SETTINGS_MODULE"] = "tests.support.apps.settings"
    path = folder / "reports"
    project.env["TEST_REPORTS_DATABASE_URL"] = f"sqlite:///{path}"
    apps = project.env.get("TEST_APPS", "")
    if apps in _migrated_reports:
        path.write_bytes(_migrated_reports[apps])
        return
    project.manage("migrate", "--verbosity", "0", "--database", "reports")
    _migrated_reports[apps] = path.read_bytes()


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would configure a project.

    Nor is a project told the width of a terminal, which it would cut its tables to.
    """
    ours = ("DJANGO_", "EVENTSTOREDB_", "DATABASE_", "ESDB_", "COLUMNS")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)}


def example(database_url: str, event_store_uri: str) -> Project:
    """Return the example project with a database, which is migrated, and a store."""
    project = example_on(database_url, event_store_uri)
    project.manage("migrate", "--verbosity", "0")
    return project


def example_on(database_url: str, event_store_uri: str) -> Project:
    """Return the example project with a database that is migrated, and a store."""
    return Project(
        {
            **clean_environment(),
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DATABASE_URL": database_url,
            "EVENTSTOREDB_URI": event_store_uri,
            # What fails is to fail at once.
            "ESDB_RETRIES": "0",
        }
    )
