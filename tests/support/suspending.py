"""Suspending a process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path


def suspend(pid: int) -> None:
    """
    Send SIGSTOP, and return when no thread of the process runs any more.

    On a busy machine one that is in the middle of an answer may give it after the
    signal was sent. Without ``/proc`` nothing is waited for.
    """
    os.kill(pid, signal.SIGSTOP)
    while set(_states(pid)) - {"T", "t", "Z", "X"}:
        time.sleep(0.001)


def _states(pid: int) -> Iterator[str]:
    for file in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            text = file.read_text()
        except OSError:
            # The thread has ended.
            continue
        # Behind the name, which may have anything in it.
        yield text.rpartition(")")[2].split()[0]
