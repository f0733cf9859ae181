"""Child processes: started with management commands, watched, and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

STOP_SECONDS = 10.0


class Child:
    """
    A management command in a process that ends, at the latest, with this one.

    Args:
        name: What it is called in messages.
        arguments: The command and its arguments.
        env: The whole environment.
        say: Called, in another thread, with each line that it prints.
    """

    def __init__(
        self,
        name: str,
        *arguments: str,
        env: Mapping[str, str],
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.name = name
        self._say = say
        self._lines: deque[str] = deque(maxlen=50)
        self._process = subprocess.Popen(  # noqa: S603  (this program itself)
            [sys.executable, "-m", "example_project.demo.child_main", *arguments],
            env=env,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            # Ctrl-C reaches the parent alone, which shuts them down cleanly.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def succeeded(self) -> bool:
        return self._process.poll() == 0

    def find_line(self, start: str) -> str | None:
        """Return what follows *start* in a line it has printed, None so far."""
        for line in tuple(self._lines):
            if line.startswith(start):
                return line.removeprefix(start)
        return None

    def why(self) -> str:
        """Return in one line how it ended and what it said last."""
        status = self._process.wait()
        self._reader.join()
        how = f"ended with exit status {status}"
        if status < 0:
            how = f"was ended by {signal.Signals(-status).name}"
        last = self._lines[-1] if self._lines else "it said nothing"
        return f"{self.name} {how}: {last}"

    def stop(self) -> None:
        """End it, with a clean shutdown if there is time; blocks until then."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                text = line.rstrip()
                if text:
                    self._lines.append(text)
                    self._say(text)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would configure a school."""
    prefixes = (
        *("DJANGO_", "DATABASE_", "EVENTSTOREDB_", "TRAININGSCHOOL"),
        *("PERSISTENCE_MODULE", "CIPHER_", "COMPRESSOR_", "SNAPSHOTTING_"),
    )
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(prefixes)
    }
