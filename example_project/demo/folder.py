"""The folder in which the demo keeps its data and its secrets."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import quote

from filelock import BaseFileLock, FileLock, Timeout


class FolderError(Exception):
    """The folder cannot be used; the text is one line."""


class Folder:
    """
    The demo's folder, which one demo uses at a time.

    Args:
        path: Where it is; made when missing, for its owner only.

    Raises:
        FolderError: It cannot be made or written, or another demo uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._take()
        except OSError as error:
            raise FolderError(
                f"Cannot use the folder {path}: {error.strerror}"
            ) from None

    def _take(self) -> BaseFileLock:
        file = self.path / "lock"
        # A file that only lies there must not lock: it would outlive a killed demo.
        lock = FileLock(file, mode=0o600, thread_local=False, fallback_to_soft=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            pid = file.read_text(errors="replace")[:20].strip()
            raise FolderError(
                f"Another demo uses the folder {self.path}, process {pid}: "
                "stop it first, or choose another folder with --folder"
            ) from None
        file.write_text(f"{os.getpid()}\n")
        return lock

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()

    @property
    def database_url(self) -> str:
        """The site's database, as ``DATABASE_URL`` names it."""
        return f"sqlite:///{quote(str(self.path / 'site.sqlite3'))}"

    @property
    def events(self) -> Path:
        """The event store's data file."""
        return self.path / "events.db"

    def secret(self, name: str, length: int) -> str:
        """
        Return a secret that is made at first use and kept for this user only.

        Args:
            name: The file's name.
            length: How many random bytes it is made of.

        Raises:
            FolderError: It can be neither read nor written.
        """
        file = self.path / name
        try:
            if not file.exists() or not file.read_text().strip():
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                with open(os.open(file, flags, 0o600), "w") as stream:
                    stream.write(f"{secrets.token_urlsafe(length)}\n")
            return file.read_text().strip()
        except (OSError, ValueError) as error:
            raise FolderError(f"Cannot use {file}: {error}") from None
