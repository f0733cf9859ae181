"""Forks with an open client and a running subscription; says what each side gets."""

from __future__ import annotations

import os
import sys
from uuid import uuid4

from eventsourcing.persistence import OperationalError, StoredEvent

from eventsourcing_eventstoredb import EventStoreDBFactory


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def main(uri: str) -> None:
    recorder = EventStoreDBFactory({"EVENTSTOREDB_URI": uri}).application_recorder()

    def save() -> int:
        event = StoredEvent(uuid4(), 0, "topic", b"{}")
        return (recorder.insert_events([event]) or ())[0]

    first = save()
    subscription = recorder.subscribe()
    received = [next(subscription).id]
    for _ in range(3):
        process_id = os.fork()
        if not process_id:
            saved = save()
            with recorder.subscribe(gt=first) as own:
                while next(own).id != saved:
                    pass
            try:
                next(subscription)
            except OperationalError as error:
                say(f"child: {error}")
            os._exit(0)
        assert os.waitpid(process_id, 0)[1] == 0
        last = save()
        while received[-1] < last:
            received.append(next(subscription).id)
    everything = [n.id for n in recorder.select_notifications(None, 99)]
    say(f"parent: {received == everything} {len(everything)}")


if __name__ == "__main__":
    main(sys.argv[1])
