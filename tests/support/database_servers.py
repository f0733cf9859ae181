"""
Database servers of a test's own, which can crash and be started again.

They listen on a socket in a folder of their own, and run as another user where root
runs the tests, as both servers demand.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.databases import connected

SECONDS = 60


class DatabaseServer:
    """
    A server that is not started yet.

    Args:
        folder: Where its files and its socket are.

    Attributes:
        url: Of a database that is always there.
    """

    user: str
    url: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str:
        """Return why there can be no such server here, or an empty text."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make its files."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the command that runs it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it can be used."""
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, **self._as_user()
            )
        end = time.monotonic() + SECONDS
        while True:
            try:
                with connected(self.url):
                    return
            except Exception as error:
                if time.monotonic() > end or self._process.poll() is not None:
                    text = (self.folder / "log").read_text()
                    msg = f"the server cannot be used: {error}: {text}"
                    raise RuntimeError(msg) from error
                time.sleep(0.05)

    def crash(self) -> None:
        """End it with all its connections, without giving it time for anything."""
        assert self._process is not None
        self._process.send_signal(self.crash_signal)
        self._process.wait(SECONDS)

    crash_signal = signal.SIGKILL

    def run(self, *command: str) -> None:
        """Run one of its programs to its end."""
        subprocess.run(
            command, check=True, capture_output=True, timeout=SECONDS, **self._as_user()
        )

    def _as_user(self) -> dict[str, Any]:
        return {"user": self.user, "cwd": self.folder} if os.getuid() == 0 else {}


class PostgreSQLServer(DatabaseServer):
    """PostgreSQL."""

    user = "postgres"
    # What «pg_ctl stop -m immediate» sends.
    crash_signal = signal.SIGQUIT

    @classmethod
    def missing(cls) -> str:
        return "" if _postgresql_programs() else "PostgreSQL's server is not installed"

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"postgres://postgres@/{self.folder}/postgres"

    def prepare(self) -> None:
        programs = _postgresql_programs()
        self.run(
            *(f"{programs[-1]}/initdb", "-D", f"{self.folder}/data"),
            *("-U", "postgres", "-A", "trust", "--no-sync"),
        )

    def command(self) -> list[str]:
        return [
            *(f"{_postgresql_programs()[-1]}/postgres", "-D", f"{self.folder}/data"),
            *("-k", str(self.folder), "-c", "listen_addresses="),
        ]


class MariaDBServer(DatabaseServer):
    """MariaDB."""

    user = "mysql"

    @classmethod
    def missing(cls) -> str:
        if importlib.util.find_spec("MySQLdb") is None:
            return "MariaDB: no driver"
        found = shutil.which("mariadb-install-db") and _mariadbd()
        return "" if found else "MariaDB's server is not installed"

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"mysql://root@localhost/?unix_socket={self.folder}/socket"

    def prepare(self) -> None:
        self.run(
            *("mariadb-install-db", "--no-defaults", f"--datadir={self.folder}/data"),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
            f"--tmpdir={self.folder}",
        )

    def command(self) -> list[str]:
        return [
            *(str(_mariadbd()), "--no-defaults", f"--datadir={self.folder}/data"),
            *(f"--socket={self.folder}/socket", "--skip-networking"),
            f"--pid-file={self.folder}/pid",
            # A server that starts deletes what others have in the folder of all.
            f"--tmpdir={self.folder}",
        ]


@contextmanager
def database_server(kind: type[DatabaseServer]) -> Iterator[DatabaseServer]:
    """Run a new server until the block ends."""
    # Not in pytest's folder, which no other user may enter, and whose name is
    # too long for a socket's.
    with tempfile.TemporaryDirectory(prefix="esdb") as name:
        folder = Path(name)
        if os.getuid() == 0:
            shutil.chown(folder, kind.user)
        server = kind(folder)
        server.prepare()
        server.start()
        try:
            yield server
        finally:
            server.crash()


def _postgresql_programs() -> list[Path]:
    """Return the folders that have the server's programs, the newest last."""
    folders = [
        *(path.parent for path in map(Path, filter(None, [shutil.which("initdb")]))),
        *Path("/usr/lib/postgresql").glob("*/bin"),
    ]
    return sorted(folder for folder in folders if (folder / "initdb").exists())


def _mariadbd() -> str | None:
    return shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
