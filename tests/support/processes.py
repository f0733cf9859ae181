"""Processes that tests start, watch and stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from tests.support.fork_server import popen
from tests.support.set_up_forks import SETUP
from tests.support.suspending import suspend

# Generous, for machines that are busy with other things.
SECONDS = 60


def ended_owner() -> str:
    """Return the name as an owner of leases of a process that has ended."""
    code = SETUP + (
        "from django_esdb.leases.process_identity import new_owner; print(new_owner())"
    )
    process = popen(["-c", code], os.environ, Path.cwd())
    said, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    return said.strip()


class Watched:
    """A process whose output is read as it comes."""

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
        self.wait_for_match(re.escape(text), count)

    def wait_for_match(self, pattern: str, count: int = 1) -> None:
        """Wait until a regular expression is found in so many lines."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: (
                    sum(bool(re.search(pattern, line)) for line in self.lines) >= count
                ),
                SECONDS,
            )
        assert found, self.lines

    def suspend(self) -> None:
        suspend(self.process.pid)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def terminate(self) -> int:
        """Shut it down cleanly; return its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.status()

    def status(self) -> int:
        """Wait for its end and return its status."""
        status = self.process.wait(SECONDS)
        for thread in self._threads:
            thread.join(SECONDS)
        return status

    def _read(self, stream: Any) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self.lines.append(line.strip())
                    self._changed.notify_all()
