"""
The clients that a process shares.

It has one for each set of connection settings, which is closed when the last of those
who asked for it is done.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from eventsourcing_eventstoredb.connection_settings import ConnectionSettings
from eventsourcing_eventstoredb.deadlines import seconds_left
from eventsourcing_eventstoredb.protocol.clients import Client

# For the members of a cluster to tell where to connect to.
_CONNECTING_SECONDS = 10.0


@dataclass
class _Shared:
    client: Client
    users: int = 0


# Reentrant, since a factory may be collected, and closed, at any moment.
_lock = threading.RLock()
_shared: dict[ConnectionSettings, _Shared] = {}


def acquire_client(settings: ConnectionSettings) -> Client:
    """
    Return this process's client for *settings*, making it if need be.

    Each call must be answered by one of :func:`release_client`. With several
    hosts this asks them for the cluster's members and so blocks; with one host
    nothing is sent.

    Raises:
        CallError: No node of the cluster can be used.
    """
    with _lock:
        shared = _shared.get(settings)
        if shared is None:
            shared = _shared[settings] = _Shared(Client(settings))
        shared.users += 1
    try:
        shared.client.connector.connection(seconds_left(_CONNECTING_SECONDS))
    except BaseException:
        release_client(settings)
        raise
    return shared.client


def release_client(settings: ConnectionSettings) -> None:
    """Give up one use of the client for *settings*; the last one closes it."""
    with _lock:
        shared = _shared.get(settings)
        if shared is None:
            return
        shared.users -= 1
        if shared.users > 0:
            return
        del _shared[settings]
    shared.client.close()


def _unlock_after_fork() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_unlock_after_fork)
