"""
How fast aggregates are loaded from a snapshot, and from all their events.

    python -m benchmarks.bench_snapshots [--quick] [--uri URI]

Aggregates have 1,000 events and a snapshot of version 990, so that a few events lie
behind it. One kind keeps a number, the other one all that its events say, so that its
snapshot is large. Each is loaded by two applications in turns, one of which has
snapshots. The embedded server runs in a process of its own, in memory, unless a server
is named by its URI.

CPU is that of this process, the client's. Ratios count; figures vary with the machine.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack, closing
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.support.event_stores import event_store, new_prefix
from benchmarks.support.options import new_parser, write_results

EVENTS = 1_000
SNAPSHOT_AT = 990
LOADS = 30
ROUNDS = 5


class Counter(Aggregate):
    """Keeps a number."""

    INITIAL_VERSION = 0

    def __init__(self) -> None:
        self.hours = 0

    @event("TrickAdded")
    def add_trick(self, name: str, hours: int) -> None:
        self.hours += hours


class Collector(Aggregate):
    """Keeps all that its events say."""

    INITIAL_VERSION = 0

    def __init__(self) -> None:
        self.tricks: list[dict[str, str | int]] = []

    @event("TrickAdded")
    def add_trick(self, name: str, hours: int) -> None:
        self.tricks.append({"name": name, "hours": hours})


def save(app: Application[UUID], aggregate: Counter | Collector) -> UUID:
    """Save an aggregate with all its events and the snapshot; return its ID."""
    for number in range(1, EVENTS):
        aggregate.add_trick(f"trick number {number}", number % 7)
        if number % 100 == 0:
            app.save(aggregate)
    app.save(aggregate)
    app.take_snapshot(aggregate.id, version=SNAPSHOT_AT)
    return aggregate.id


def load(app: Application[UUID], aggregate_id: UUID, loads: int) -> tuple[float, float]:
    """Load an aggregate so often; return milliseconds and CPU milliseconds of one."""
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(loads):
        aggregate: Aggregate = app.repository.get(aggregate_id)
        assert aggregate.version == EVENTS - 1
    seconds = time.perf_counter() - began
    cpu = time.process_time() - cpu
    return seconds / loads * 1e3, cpu / loads * 1e3


def measure(uri: str, rounds: int) -> list[str]:
    """Measure both kinds; return lines to print."""
    lines = []
    with ExitStack() as stack:
        env = {
            "PERSISTENCE_MODULE": "eventsourcing_eventstoredb",
            "EVENTSTOREDB_URI": uri,
            "EVENTSTOREDB_STREAM_PREFIX": new_prefix(),
            "EVENTSTOREDB_TOPIC_ALLOWLIST": "benchmarks __main__",
        }
        having, without = (
            stack.enter_context(
                closing(Application[UUID]({**env, "IS_SNAPSHOTTING_ENABLED": enabled}))
            )
            for enabled in ("y", "n")
        )
        for kind, aggregate in (("a number", Counter()), ("all", Collector())):
            aggregate_id = save(having, aggregate)
            taken: dict[str, list[tuple[float, float]]] = {}
            for number in range(rounds + 1):
                for name, app in (("snapshot", having), ("events", without)):
                    took = load(app, aggregate_id, LOADS)
                    # The first round warms up.
                    if number:
                        taken.setdefault(name, []).append(took)
            lines.append(f"\n{EVENTS} events, snapshot at {SNAPSHOT_AT}, keeps {kind}")
            for name, rows in taken.items():
                wall = statistics.median(row[0] for row in rows)
                cpu = statistics.median(row[1] for row in rows)
                lines.append(f"  from {name:10}{wall:8.2f} ms{cpu:8.2f} ms CPU")
            ratio = statistics.median(
                events[0] / snapshot[0]
                for events, snapshot in zip(
                    taken["events"], taken["snapshot"], strict=True
                )
            )
            lines.append(f"  the snapshot is {ratio:.1f} times as fast")
    return lines


def main(uri: str | None, rounds: int) -> None:
    """Measure and print."""
    with event_store(uri) as address:
        lines = measure(address, rounds)
    print("\n".join(lines), flush=True)
    write_results("snapshots", lines)


if __name__ == "__main__":
    options = new_parser("snapshots", __doc__).parse_args()
    main(options.uri, 2 if options.quick else ROUNDS)
