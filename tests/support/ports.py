"""Ports that are free, for what tests start."""

from __future__ import annotations

import random
import socket

# Below those that the system gives to clients: one that tries to connect while a
# server is away must not get the server's port for its own end.
_PORTS = range(20_000, 32_000)
_ATTEMPTS = 20


def free_port() -> int:
    """Return a port at which nothing listens."""
    return free_ports()[0]


def free_ports() -> list[int]:
    """Return ports at which nothing listens, as many as are worth a try."""
    # Runs at the same time must not get in each other's way.
    return [port for port in random.sample(_PORTS, _ATTEMPTS) if _is_free(port)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
