"""Commands that run projections, in processes that are watched and killed."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from tests.support.processes import SECONDS, Watched
from tests.support.projects import Project


def worker(project: Project, *options: str) -> AbstractContextManager[Watched]:
    """Run the projections in a process until the block ends, which kills it."""
    return command(project, "runprojections", *options)


@contextmanager
def command(project: Project, *arguments: str) -> Iterator[Watched]:
    """Run a command in a process until the block ends, which kills it."""
    with project.running(*arguments) as process:
        this = Watched(process)
        try:
            yield this
        finally:
            if process.poll() is None:
                this.resume()
                process.kill()
                this.status()


def wait_for_handler(directory: Path, this: Watched) -> None:
    """Wait until a process is in the middle of a transaction."""
    _wait_for_note(directory, "waiting", this)


def wait_for_stop(directory: Path, this: Watched) -> None:
    """Wait until a process's projection has been told to stop."""
    _wait_for_note(directory, "stopping", this)


def _wait_for_note(directory: Path, what: str, this: Watched) -> None:
    end = time.monotonic() + SECONDS
    while not (directory / f"{what}-{this.process.pid}").exists():
        assert time.monotonic() < end, this.lines
        time.sleep(0.02)


def is_sqlite(project: Project) -> bool:
    return project.env["DATABASE_URL"].startswith("sqlite")


def suspend_outside_of_transaction(project: Project, this: Watched) -> None:
    """Suspend a process, on SQLite at a moment when it does not have the lock."""
    # It takes luck, and the more, the busier the machine is.
    end = time.monotonic() + 3 * SECONDS
    while True:
        this.suspend()
        if not is_sqlite(project) or can_be_written(project):
            return
        this.resume()
        # Time to get on, in which it may also catch up with what it has missed.
        time.sleep(random.uniform(0, 0.5))
        assert time.monotonic() < end, "the database is always locked"


def can_be_written(project: Project) -> bool:
    """Tell whether no process holds SQLite's lock for longer than a moment."""
    path = project.env["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(
        sqlite3.connect(path, timeout=0.5, isolation_level=None)
    ) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True
