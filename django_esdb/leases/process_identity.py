"""
Names of processes that own leases, and whether such a process is known to be gone.

A process that was killed cannot release its leases. Usually others wait until they
are over. Where the kernel is the same and processes see each other, there is no need
to: then the kernel says that the process is gone, and a restart goes on at once.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from pathlib import Path

# Hosts' names are no longer than 64 characters, where it matters.
_LONGEST_HOST = 100


def new_owner() -> str:
    """Return ``HOST:PROCESS:SCOPE:RANDOM``, which is nobody else's name."""
    host = socket.gethostname().replace(":", "-")[:_LONGEST_HOST]
    return f"{host}:{os.getpid()}:{_scope()}:{uuid.uuid4().hex[:12]}"


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
        os.kill(int(parts[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _is_zombie(int(parts[1]))


def _is_zombie(process_id: int) -> bool:
    """Tell whether only its parent's asking for its status keeps a process there."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["Z"]


def _scope() -> str:
    """Identify the set of processes that this one can see; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:12]
