"""``runprojections`` in processes of its own, watched, suspended and killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from tests.projects import Project

# Generous, for machines that are busy with other things.
SECONDS = 60


class Worker:
    """A ``runprojections`` process, whose output is read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._read, args=(stream,))
            for stream in (process.stdout, process.stderr)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until so many lines have a text in them."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: sum(text in line for line in self.lines) >= count, SECONDS
            )
        assert found, self.lines

    def suspend(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def terminate(self) -> int:
        """Stop it in good order; return its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.status()

    def status(self) -> int:
        """Wait for its end and return its status."""
        status = self.process.wait(SECONDS)
        for thread in self._threads:
            thread.join(SECONDS)
        return status

    def _read(self, stream: Any) -> None:
        for line in stream:
            with self._changed:
                self.lines.append(line.strip())
                self._changed.notify_all()


@contextmanager
def worker(project: Project, *options: str) -> Iterator[Worker]:
    """Run the projections in a process until the block ends, which kills it."""
    with project.running("runprojections", *options) as process:
        this = Worker(process)
        try:
            yield this
        finally:
            if process.poll() is None:
                this.resume()
                process.kill()
                this.status()


def is_sqlite(project: Project) -> bool:
    return project.env["DATABASE_URL"].startswith("sqlite")


def suspend_outside_of_transaction(project: Project, this: Worker) -> None:
    """Suspend a process, on SQLite at a moment when it does not have the lock."""
    end = time.monotonic() + SECONDS
    while True:
        this.suspend()
        if not is_sqlite(project) or can_be_written(project):
            return
        this.resume()
        assert time.monotonic() < end, "the database is always locked"


def can_be_written(project: Project) -> bool:
    """Tell whether nobody holds SQLite's lock for longer than a moment."""
    path = project.env["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=2, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True
