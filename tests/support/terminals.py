"""A terminal with a shell, in which a test types what people do."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

# Says how the last command has ended.
PROMPT = r"\[(\d+)\] ready> $"
_PS1 = "[$?] ready> "
_INTERRUPT = "\x03"


class Terminal:
    """
    A shell that takes what is typed, and shows what is printed.

    Args:
        folder: Where it starts.
        env: Its environment.
        seconds_left: Asked how long it may still take until something is shown.

    Attributes:
        said: What was shown until the last match.
    """

    def __init__(
        self, folder: Path, env: dict[str, str], seconds_left: Callable[[], float]
    ) -> None:
        self._seconds_left = seconds_left
        self.said = self._shown = ""
        self._end, shell = pty.openpty()
        settings = {"PS1": _PS1, "TERM": "dumb", "HISTFILE": os.devnull}
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-i"],
            cwd=folder,
            env=env | settings,
            stdin=shell,
            stdout=shell,
            stderr=shell,
            start_new_session=True,
            preexec_fn=_take_control,
        )
        os.close(shell)
        self.expect(PROMPT)

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._end, f"{line}\n".encode())

    def interrupt(self) -> int:
        """Press Ctrl-C; return with which status the command has ended."""
        os.write(self._end, _INTERRUPT.encode())
        return int(self.expect(PROMPT)[1])

    def expect(self, *patterns: str) -> re.Match[str]:
        """
        Wait until what is shown since the last time matches one of the patterns.

        Raises:
            AssertionError: Nothing does in time, or until the shell has ended.
        """
        wanted = re.compile("|".join(patterns))
        while not (found := wanted.search(self._shown)):
            self._read()
        self.said, self._shown = self._shown[: found.end()], self._shown[found.end() :]
        return found

    def close(self) -> None:
        """End the shell and what runs in it, as closing a window does."""
        os.close(self._end)
        self._process.wait()

    def _read(self) -> None:
        if not select.select([self._end], [], [], max(0, self._seconds_left()))[0]:
            raise AssertionError(f"this takes too long:\n{self._shown}")
        try:
            read = os.read(self._end, 65536)
        except OSError:
            raise AssertionError(f"it has ended, after:\n{self._shown}") from None
        self._shown += read.decode(errors="replace").replace("\r", "")


def _take_control() -> None:
    # Who runs the tests in the background may have it ignored, which is inherited.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Ctrl-C is for what runs in the terminal, and passwords are read from it.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
