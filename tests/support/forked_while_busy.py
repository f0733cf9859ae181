"""Forks while other threads save and read; says how each side fares."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from uuid import uuid4

from eventsourcing.persistence import StoredEvent

from eventsourcing_eventstoredb import EventStoreDBFactory


def main(uri: str) -> None:
    recorder = EventStoreDBFactory({"EVENTSTOREDB_URI": uri}).application_recorder()
    stopping = threading.Event()
    errors: list[str] = []

    def save() -> None:
        recorder.insert_events([StoredEvent(uuid4(), 0, "topic", b"{}")])

    def repeat(work: Callable[[], object]) -> None:
        while not stopping.is_set():
            try:
                work()
            except Exception as error:
                errors.append(repr(error))

    save()
    threads = [
        threading.Thread(target=repeat, args=[work])
        for work in (
            save,
            lambda: recorder.select_notifications(None, 50),
            recorder.max_notification_id,
        )
    ]
    for thread in threads:
        thread.start()
    statuses = []
    for _ in range(10):
        # In the midst of what they do.
        time.sleep(0.01)
        process_id = os.fork()
        if not process_id:
            # One that hangs must be told from one that is slow.
            signal.alarm(30)
            save()
            os._exit(0)
        statuses.append(os.waitpid(process_id, 0)[1])
    stopping.set()
    for thread in threads:
        thread.join()
    os.write(1, f"children: {statuses}\nparent: {errors}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1])
