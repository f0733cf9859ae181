"""The process that starts those of clusters, as seen by tests."""

from __future__ import annotations

import atexit
import json
import signal
import subprocess
import sys
import threading
from functools import cache
from typing import Any

from tests.support.projects import ROOT

_END_SECONDS = 10


class LaunchError(Exception):
    """A process does not start; the text says why."""


class Launcher:
    """
    Starts processes of clusters; see :mod:`tests.support.cluster.forking`.

    Methods may be called from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.cluster.forking"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self.stop)

    def start(self, kind: str, **arguments: object) -> tuple[int, str]:
        """
        Fork a process; return its ID and where it listens, once it does.

        Raises:
            LaunchError: It does not start.
        """
        answer = self._ask(start=kind, arguments=arguments)
        if "error" in answer:
            raise LaunchError(answer["error"])
        return answer["pid"], answer["said"]

    def send(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a process; if it ends by it, return when it is gone."""
        self._ask(signal=int(number), pid=pid)

    def stop(self) -> None:
        """End it, and all processes that it has forked."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                # Another process has its pipe, such as one that a test forked.
                self._process.kill()

    def _ask(self, **command: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@cache
def launcher() -> Launcher:
    """The one of this process, which is started when it is first asked for."""
    return Launcher()
