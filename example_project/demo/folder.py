"""The folder in which the demo keeps its data and its secrets."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


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
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise FolderError(
                f"Cannot use the folder {path}: {error.strerror}"
            ) from None
        try:
            self._take()
        except BaseException:
            os.close(self._lock)
            raise

    def _take(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._lock, 20, 0).decode(errors="replace").strip()
            raise FolderError(
                f"Another demo uses the folder {self.path}, process {pid}: "
                "stop it first, or choose another folder with --folder"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._lock)

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
