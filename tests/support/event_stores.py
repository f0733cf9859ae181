"""Event stores that are processes of their own, are killed and come back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.support.fork_server import popen
from tests.support.ports import free_ports
from tests.support.projects import ROOT
from tests.support.suspending import suspend


@contextmanager
def listening(module: str, *arguments: str) -> Iterator[str]:
    """Run a server's module in a process until the block ends; yield its URI."""
    process = popen(["-m", module, *arguments], os.environ, ROOT, errors=None)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().removeprefix("listening on ").strip()
    finally:
        process.terminate()
        process.communicate()


def server_process(*options: str, port: str = "0") -> AbstractContextManager[str]:
    """Run an embedded server as a process, 0 for a free port; yields its URI."""
    return listening("eventsourcing_eventstoredb.server", "--port", port, *options)


class EventStoreError(Exception):
    """An event store does not start; the text says what it has said."""


class EventStore:
    """
    An embedded server as a process, with a data file that outlives it.

    Args:
        folder: Where its data file and what it says lie.

    Attributes:
        uri: Where it listens, from its first start on; always the same.
    """

    def __init__(self, folder: Path) -> None:
        self.uri = ""
        self._port = 0
        self._data = folder / "events.sqlite3"
        self._said = folder / "event-store.log"
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """Its ``host:port``."""
        return self.uri.partition("//")[2].partition("?")[0]

    @property
    def is_running(self) -> bool:
        """Whether it was started and not killed since."""
        return self._process is not None

    def start(self) -> None:
        """
        Start it; returns once it listens.

        Raises:
            EventStoreError: It does not start.
        """
        ports = [self._port] if self._port else free_ports()
        for port in ports:
            if self._start_at(port):
                self._port = port
                return
        raise EventStoreError(
            f"the event store does not start: {self._said.read_text()}"
        )

    def stop(self) -> None:
        """Shut it down cleanly; returns when it is gone."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        self.kill()

    def kill(self) -> None:
        """End it as a failing machine would; returns when it is gone."""
        if self._process is not None:
            with self._process:
                self._process.kill()
            self._process = None

    def freeze(self) -> None:
        """Have it keep its connections and say nothing, until woken or killed."""
        assert self._process is not None
        suspend(self._process.pid)

    def wake(self) -> None:
        """Let it continue, after :meth:`freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def lose_events(self) -> None:
        """Have it begin without any event when it is started again."""
        assert not self.is_running
        for file in self._data.parent.glob(f"{self._data.name}*"):
            file.unlink()

    def take_events(self, other: EventStore) -> None:
        """Have it begin with another one's events, which does not run either."""
        assert not other.is_running
        self.lose_events()
        shutil.copy(other._data, self._data)

    def _start_at(self, port: int) -> bool:
        with self._said.open("a") as said:
            process = popen(
                [
                    *("-m", "eventsourcing_eventstoredb.server"),
                    *("--port", str(port), "--data", str(self._data)),
                ],
                os.environ,
                ROOT,
                errors=said,
            )
        self._process = process
        assert process.stdout is not None
        _, listening, uri = process.stdout.readline().strip().partition("listening on ")
        if not listening:
            self.kill()
            return False
        self.uri = uri
        return True
