"""Which process listens on a port, and which command stops it, where psutil tells."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_DAEMON: Final = "eventsourcing_eventstoredb.server.daemon"
_PID_FILE: Final = "--pid-file="
_LONGEST_NAME: Final = 120


@dataclass(frozen=True)
class PortOwner:
    """
    A process that listens on a port.

    Attributes:
        pid: Its number.
        name: Its program and what it was told to run. Options, which may have
            passwords in them, are left out.
        stop: The command that stops it.
    """

    pid: int
    name: str
    stop: str

    def __str__(self) -> str:
        return (
            f"process {self.pid} ({self.name})" if self.name else f"process {self.pid}"
        )


def port_owner(port: int) -> PortOwner | None:
    """
    Return who listens on a TCP port of this machine.

    Needs psutil. None where it is not installed, or this user may not know.
    """
    try:
        # Optional, and of use only where something has gone wrong.
        import psutil
    except ImportError:
        return None
    try:
        for connection in psutil.net_connections(kind="tcp"):
            is_there = connection.laddr and connection.laddr.port == port
            if is_there and connection.status == psutil.CONN_LISTEN and connection.pid:
                return _owner(psutil.Process(connection.pid))
    except (psutil.Error, OSError):
        pass
    return None


def _owner(process: Any) -> PortOwner:
    pid = int(process.pid)
    arguments = process.cmdline()
    stop = f"kill {pid}"
    if _DAEMON in arguments:
        files = [each for each in arguments if each.startswith(_PID_FILE)]
        for each in files[:1]:
            file = Path(process.cwd(), each.removeprefix(_PID_FILE))
            command = [Path(sys.executable).name, "-m", _DAEMON, "stop"]
            stop = shlex.join([*command, f"{_PID_FILE}{file}"])
    return PortOwner(pid, _name(arguments), stop)


def _name(arguments: Sequence[str]) -> str:
    """Return a command line up to its first option but Python's -m."""
    shown = [os.path.basename(argument) for argument in arguments[:1]]
    for argument in arguments[1:]:
        if argument.startswith("-") and argument != "-m":
            break
        shown.append(argument)
    text = " ".join(shown)[:_LONGEST_NAME]
    return "".join(c if c.isprintable() else "?" for c in text)
