"""
Names of processes that own leases, and whether such a process is known to be gone.

A process that was killed cannot release its leases. Usually others wait until they
are over. Where the kernel is the same and processes see each other, there is no need
to: then the kernel says that the process is gone, and a restart recovers at once.

Numbers of processes are used again. So a name also says when its process started, in
hundredths of a second since the system did, which no change of the clock moves. Names
of older versions do not say it.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from pathlib import Path

try:
    import psutil
except ImportError:
    psutil = None

# Hosts' names are no longer than 64 characters, where it matters.
_LONGEST_HOST = 100
# Far less than it takes until a number is used again, and more than rounding makes.
_SAME_START = 100


# What no hexadecimal number begins with.
_REBUILD = "rebuild"


class _UnknownError(Exception):
    """What a process is cannot be known from here."""


def new_owner(*, rebuilds: bool = False) -> str:
    """
    Return ``HOST:PROCESS:SCOPE:RANDOM``, a name of its own.

    Args:
        rebuilds: Whether it is of a process that rebuilds a projection and gives it
            back then; the last part begins with it.
    """
    host = socket.gethostname().replace(":", "-")[:_LONGEST_HOST]
    random = (_REBUILD if rebuilds else "") + uuid.uuid4().hex[:12]
    try:
        started = _started(os.getpid())
    except _UnknownError:
        started = None
    if started is not None:
        random += f"-{started}"
    return f"{host}:{os.getpid()}:{_scope()}:{random}"


def is_rebuilder(owner: str) -> bool:
    """Return whether a name is of a process that gives back what it has taken."""
    return owner.rpartition(":")[2].startswith(_REBUILD)


def is_gone(owner: str) -> bool:
    """
    Return whether the process of that name is known to have ended.

    False where that cannot be known, because it ran on another machine, or in a
    container whose processes cannot be seen from here.
    """
    scope = _scope()
    parts = owner.split(":")
    if not scope or len(parts) != 4 or parts[2] != scope or not parts[1].isdigit():
        return False
    try:
        started = _started(int(parts[1]))
    except _UnknownError:
        return False
    named = parts[3].partition("-")[2]
    return started is None or (
        named.isdigit() and abs(started - int(named)) > _SAME_START
    )


def _started(process_id: int) -> int | None:
    """
    Return when a process started, in hundredths of a second since the system did.

    None if no such process lives; one that only waits for its parent to ask for its
    status does not.

    Raises:
        _UnknownError: That cannot be known.
    """
    if psutil is None:
        return _started_by_files(process_id)
    try:
        # Where other users' processes are hidden, only this tells that there is one.
        if not psutil.pid_exists(process_id):
            return None
        process = psutil.Process(process_id)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        started = float(process.create_time()) - float(psutil.boot_time())
        return round(started * 100)
    except (psutil.Error, OSError, OverflowError) as error:
        raise _UnknownError from error


def _started_by_files(process_id: int) -> int | None:
    try:
        os.kill(process_id, 0)
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except ProcessLookupError:
        return None
    except (OSError, OverflowError) as error:
        raise _UnknownError from error
    # The program's name stands in parentheses, and may have any of them in it.
    fields = stat.rpartition(")")[2].split()
    if fields[0] == "Z":
        return None
    return round(int(fields[19]) * 100 / os.sysconf("SC_CLK_TCK"))


def _scope() -> str:
    """Identify the set of processes that this one can see; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:12]
