"""Ending a process that a handler has forked, before it does its parent's work."""

from __future__ import annotations

import os
import sys


def end_child(process_id: int) -> None:
    """
    End this process, unless it has the given number; does not return then.

    A child that came back from a handler would go on as a second owner of the lease,
    on its parent's connections. Called when a handler has returned or raised: after
    ``SystemExit`` the child ends with its status, else with 1 and a line that says why.

    Args:
        process_id: Of the process that has called the handler.
    """
    if os.getpid() == process_id:
        return
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
