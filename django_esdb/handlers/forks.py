"""Ending a process that a handler has forked, before it does its parent's work."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

# How many forks lie between this process and the first one. Who has called a handler
# compares it after each event, where asking for the process's number takes longer.
depth = 0


def end_child() -> NoReturn:
    """
    End this process, which a handler has forked, and which has come back from it.

    It would continue as a second owner of the lease, on its parent's connections. After
    ``SystemExit`` it ends with its status, else with 1 and a line that says why.
    """
    status = 1
    try:
        error = sys.exc_info()[1]
        if isinstance(error, SystemExit):
            status = _status_of(error)
        else:
            line = (
                "A handler has forked, and the child has come back from it, so the "
                "child ends here; have it end with os._exit(), or use subprocess\n"
            )
            os.write(2, line.encode())
    finally:
        os._exit(status)


def _status_of(error: SystemExit) -> int:
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1


def _note_fork() -> None:
    global depth
    depth += 1


os.register_at_fork(after_in_child=_note_fork)
