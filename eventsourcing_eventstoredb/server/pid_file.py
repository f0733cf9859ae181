"""
A pid file whose lock says whether the process that it names runs.

The lock ends with the process, however that happens; a number alone may be another
program's by now.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from filelock import lock_descriptor, unlock_descriptor

_MAX_DIGITS: Final = 10

# Who asks whether a server runs has its lock for a moment, too. A server has it for
# much longer than this.
_ASKING_SECONDS: Final = 0.1


class DaemonError(Exception):
    """The server can be neither started nor stopped; the message is one line."""


class PidFile:
    """
    A pid file that lies in its place. The process that holds its lock is the server.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is none.
        DaemonError: It cannot be read, or is something else than a pid file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise
        except OSError as error:
            msg = f"Cannot read {path}: {error.strerror}"
            raise DaemonError(msg) from None
        try:
            content = os.read(self._descriptor, 32).strip()
        except OSError:
            content = b""
        if not content.isdigit() or len(content) > _MAX_DIGITS:
            os.close(self._descriptor)
            msg = f"{path} is not a pid file and is left as it is"
            raise DaemonError(msg)
        self.pid = int(content)

    @classmethod
    def take(cls, path: Path) -> PidFile | None:
        """
        Put a locked file with this process's number in place, if no server has one.

        It is locked and written first, so that a locked file always says who has it.
        """
        # Not inherited by other programs, which would hold the lock too.
        own = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            descriptor = os.open(own, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            msg = f"Cannot write {path}: {error.strerror}"
            raise DaemonError(msg) from None
        lock_descriptor(descriptor)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        try:
            while True:
                try:
                    os.link(own, path)
                    break
                except FileExistsError:
                    if running_pid(path):
                        os.close(descriptor)
                        return None
                    path.unlink(missing_ok=True)
        finally:
            own.unlink()
        file = cls(path)
        # Two descriptors of one file have locks of their own.
        os.close(file._descriptor)
        file._descriptor = descriptor
        return file

    def is_held(self) -> bool:
        """
        Return whether the server that wrote the file runs; blocks for 0.1 s if so.
        """
        deadline = time.monotonic() + _ASKING_SECONDS
        while not lock_descriptor(self._descriptor, blocking=False):
            if time.monotonic() > deadline:
                return True
            time.sleep(_ASKING_SECONDS / 20)
        unlock_descriptor(self._descriptor)
        return False

    def remove(self) -> None:
        """Remove the file, unless another one has taken its place."""
        try:
            in_place = os.stat(self.path)
        except FileNotFoundError:
            return
        if os.path.samestat(in_place, os.fstat(self._descriptor)):
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> PidFile:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._descriptor)


def running_pid(path: Path) -> int:
    """
    Return the process whose pid file this is and which runs, 0 if none does.

    Raises:
        DaemonError: It cannot be read, or is something else than a pid file.
    """
    try:
        with PidFile(path) as file:
            return file.pid if file.is_held() else 0
    except FileNotFoundError:
        return 0
