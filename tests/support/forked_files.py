"""Forks with a client in use; says what gRPC does to files that the child opens."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

# Registered before all others, this comes last before the fork.
os.register_at_fork(before=lambda: at_fork.append(thread_names()))
at_fork: list[list[str]] = []

from eventsourcing.persistence import StoredEvent  # noqa: E402

from eventsourcing_eventstoredb import EventStoreDBFactory  # noqa: E402


def thread_names() -> list[str]:
    """Return the names that Linux has for this process's threads."""
    return [
        (task / "comm").read_text().strip()
        for task in Path("/proc/self/task").iterdir()
    ]


def received(socket: socket.socket) -> bytes:
    try:
        return socket.recv(1000)
    except BlockingIOError:
        return b""


def in_child(work: Callable[[], None]) -> None:
    process_id = os.fork()
    if not process_id:
        work()
        os._exit(0)
    assert os.waitpid(process_id, 0)[1] == 0


def main(uri: str) -> None:
    env = {**os.environ, "EVENTSTOREDB_URI": uri}
    recorder = EventStoreDBFactory(env).application_recorder()

    def save() -> int:
        event = StoredEvent(uuid4(), 0, "topic", b"{}")
        return (recorder.insert_events([event]) or ())[0]

    def open_files_and_save() -> None:
        # They get the numbers that the parent's connection had, among others.
        pairs = [socket.socketpair() for _ in range(8)]
        files = [file for pair in pairs for file in pair]
        for file in files:
            file.setblocking(False)
        for _ in range(3):
            save()
        strays = [data for data in map(received, files) if data]
        os.write(1, f"strays: {strays}\n".encode())

    for _ in range(3):
        save()
    in_child(open_files_and_save)
    # Calls that end before the server has said everything, or would never end.
    recorder.max_notification_id()
    recorder.select_notifications(None, 1)
    recorder.subscribe().stop()
    live = recorder.subscribe()
    next(live)
    in_child(open_files_and_save)
    in_child(open_files_and_save)
    for _ in range(3):
        save()
    for _ in range(5):
        next(live)
    names = sorted({name for names in at_fork for name in names})
    os.write(1, f"threads: {','.join(names)}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1])
