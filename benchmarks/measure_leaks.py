"""One measurement of a process that runs projections for long; prints JSON."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from benchmarks.measure_projection import DOGS_AT_A_TIME, stored_events
from benchmarks.support.client_library import EventStoreDBClient, NewEvent, StreamState
from benchmarks.support.databases import execute
from benchmarks.support.event_stores import event_store, new_prefix
from benchmarks.support.processes import (
    ROOT,
    example_environment,
    footprint,
    runprojections,
)
from benchmarks.support.proxy import Proxy

STEPS = 10
EVENTS_OF_A_DOG = 50
# How far the writer may be ahead, in events: they must be live.
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

    Args:
        uri: Where.
        prefix: What the names of their streams begin with.

    Attributes:
        count: How many events there are.
        last: The last one's position.
    """

    def __init__(self, uri: str, prefix: str) -> None:
        self.count = 0
        self.last = 0
        self._prefix = prefix
        self._client = EventStoreDBClient(uri)
        self._dog = dog()

    def write(self) -> None:
        """Append a dog's."""
        self.last = self._client.append_events(
            f"{self._prefix}-{uuid4()}",
            current_version=StreamState.NO_STREAM,
            # Each event has an ID of its own.
            events=[NewEvent(event.type, event.data) for event in self._dog],
        )
        self.count += len(self._dog)

    def close(self) -> None:
        self._client.close()


def example(uri: str, prefix: str) -> dict[str, str]:
    """Return the environment of the example on a store, with its database migrated."""
    env = example_environment(
        DATABASE_URL=os.environ["DATABASE_URL"],
        EVENTSTOREDB_URI=uri,
        EVENTSTOREDB_STREAM_PREFIX=prefix,
    )
    migrate = [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"]
    subprocess.run(migrate, env=env, check=True)
    return env


def wait_until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def first_value(sql: str) -> int:
    """Return what a query finds in the first column of its first row, or 0."""
    rows = execute(os.environ["DATABASE_URL"], sql)
    return int(rows[0][0] or 0) if rows else 0


def processed() -> int:
    """Return how many events have been processed."""
    return first_value("SELECT dogs + tricks FROM training_school_schoolcounts")


def measure_memory(count: int, seconds: float, uri: str | None) -> dict[str, Any]:
    prefix = new_prefix()
    with event_store(uri) as store:
        env = example(store, prefix)
        writer = Writer(store, prefix)
        steps = []
        with runprojections(env) as process_id:
            begun = time.monotonic()
            for limit in range(count // STEPS, count + 1, count // STEPS):
                while writer.count < limit:
                    for _ in range(1000 // EVENTS_OF_A_DOG):
                        writer.write()
                    wait_until(lambda: processed() > writer.count - AHEAD)
                wait_until(lambda: processed() == writer.count)
                steps.append({"events": writer.count, **footprint(process_id)})
                if time.monotonic() - begun > seconds:
                    break
            rate = writer.count / (time.monotonic() - begun)
        writer.close()
    return {"steps": steps, "rate": rate}


# Other connections to the same database of PostgreSQL.
OTHERS = (
    "FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


def used(process_id: int, is_server: bool) -> dict[str, int]:
    # A pause, in which connections that are not needed are closed.
    time.sleep(8)
    return {
        **footprint(process_id),
        "connections": first_value(f"SELECT count(*) {OTHERS}") if is_server else 0,
    }


def measure_reconnections(
    count: int, seconds: float, uri: str | None
) -> dict[str, Any]:
    is_server = not os.environ["DATABASE_URL"].startswith("sqlite")
    prefix = new_prefix()
    with event_store(uri) as store:
        writer = Writer(store, prefix)
        # Of a cluster the first.
        url = urlsplit(store.partition(",")[0])
        kills = 0
        with Proxy(url.hostname or "localhost", url.port or 2113) as proxy:
            env = example(f"esdb://127.0.0.1:{proxy.port}?Tls=false", prefix)
            with runprojections(env) as process_id:
                begun = time.monotonic()
                for cuts in range(1, count + FIRST_RECONNECTIONS + 1):
                    proxy.cut()
                    if cuts % CUTS_FOR_A_KILL == 0 and is_server:
                        first_value(f"SELECT pg_terminate_backend(pid) {OTHERS}")
                        kills += 1
                    writer.write()
                    wait_until(lambda: position() >= writer.last)
                    if cuts == FIRST_RECONNECTIONS:
                        before = used(process_id, is_server)
                    if time.monotonic() - begun > seconds:
                        break
                after = used(process_id, is_server)
        writer.close()
    return {"before": before, "after": after, "cuts": cuts, "kills": kills}


def position() -> int:
    """Return the position of the one projection."""
    return first_value("SELECT position FROM django_esdb_projectiontracking")


def main() -> None:
    what = json.loads(sys.argv[1])
    measure = {"memory": measure_memory, "reconnections": measure_reconnections}
    print(json.dumps(measure[what.pop("way")](**what)))


if __name__ == "__main__":
    main()
