"""One measurement of a process that runs projections for long; prints JSON."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from esdbclient import EventStoreDBClient, NewEvent, StreamState

from benchmarks.measure_projection import (
    DOGS_AT_A_TIME,
    store_process,
    stored_events,
)
from tests.support.connections import kill_connections, open_connections
from tests.support.footprint import Footprint
from tests.support.projects import Project, example
from tests.support.proxy import Proxy

STEPS = 10
EVENTS_OF_A_DOG = 50
# How far the writer may be ahead, in events: they are to be live.
AHEAD = 5_000
SECONDS = 60
# Cutting a connection to the event store is over sooner than ending the database's,
# after which a projection pauses for half a second.
CUTS_FOR_A_KILL = 10
# Reconnections after which pools of threads are filled.
FIRST_RECONNECTIONS = 10


def dog() -> list[NewEvent]:
    """Return the events of a dog that has learned a lot."""
    first, *others = itertools.islice(stored_events(), DOGS_AT_A_TIME + 1)
    events = [first, *([others[-1]] * (EVENTS_OF_A_DOG - 1))]
    return [NewEvent(event.topic, event.state) for event in events]


class Writer:
    """
    Appends dogs' events.

    Attributes:
        count: How many events there are.
        last: The last one's position.
    """

    def __init__(self, uri: str) -> None:
        self.count = 0
        self.last = 0
        self._client = EventStoreDBClient(uri)
        self._dog = dog()

    def write(self) -> None:
        """Append a dog's."""
        self.last = self._client.append_events(
            str(uuid4()),
            current_version=StreamState.NO_STREAM,
            # Each event has an ID of its own.
            events=[NewEvent(event.type, event.data) for event in self._dog],
        )
        self.count += len(self._dog)

    def close(self) -> None:
        self._client.close()


@contextmanager
def runprojections(project: Project) -> Iterator[subprocess.Popen[str]]:
    with project.running("runprojections") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Running")
        yield process
        assert process.poll() is None, "it has ended"


def wait_until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def processed(project: Project) -> int:
    """Return how many events have been processed."""
    sql = "SELECT dogs + tricks FROM training_school_schoolcounts"
    return sum(row[0] for row in project.query(sql))


def measure_memory(count: int, seconds: float) -> dict[str, Any]:
    with store_process() as uri:
        project = example(os.environ["DATABASE_URL"], uri)
        writer = Writer(uri)
        steps = []
        with runprojections(project) as process:
            begun = time.monotonic()
            for limit in range(count // STEPS, count + 1, count // STEPS):
                while writer.count < limit:
                    for _ in range(1000 // EVENTS_OF_A_DOG):
                        writer.write()
                    wait_until(lambda: processed(project) > writer.count - AHEAD)
                wait_until(lambda: processed(project) == writer.count)
                footprint = Footprint.of(process.pid)
                steps.append({"events": writer.count, **vars(footprint)})
                if time.monotonic() - begun > seconds:
                    break
            rate = writer.count / (time.monotonic() - begun)
        writer.close()
    return {"steps": steps, "rate": rate}


def measure_reconnections(count: int, seconds: float) -> dict[str, Any]:
    url = os.environ["DATABASE_URL"]

    def used(process_id: int) -> dict[str, int]:
        # A pause, in which connections that are not needed are closed.
        time.sleep(8)
        is_server = not url.startswith("sqlite")
        return {
            **vars(Footprint.of(process_id)),
            "connections": open_connections(url) if is_server else 0,
        }

    with store_process() as uri:
        writer = Writer(uri)
        port = int(uri.partition("?")[0].rpartition(":")[2])
        kills = 0
        with Proxy("127.0.0.1", port) as proxy:
            project = example(url, proxy.uri)
            with runprojections(project) as process:
                begun = time.monotonic()
                for cuts in range(1, count + FIRST_RECONNECTIONS + 1):
                    proxy.cut()
                    if cuts % CUTS_FOR_A_KILL == 0 and not url.startswith("sqlite"):
                        kill_connections(url)
                        kills += 1
                    writer.write()
                    wait_until(lambda: (project.position() or 0) >= writer.last)
                    if cuts == FIRST_RECONNECTIONS:
                        before = used(process.pid)
                    if time.monotonic() - begun > seconds:
                        break
                after = used(process.pid)
        writer.close()
    return {"before": before, "after": after, "cuts": cuts, "kills": kills}


def main() -> None:
    what = json.loads(sys.argv[1])
    measure = {"memory": measure_memory, "reconnections": measure_reconnections}
    print(json.dumps(measure[what.pop("way")](**what)))


if __name__ == "__main__":
    main()
