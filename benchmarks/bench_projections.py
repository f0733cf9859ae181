"""
How fast projections are, next to the library's own runner and view.

    python -m benchmarks.bench_projections [--events N] [--quick]

Each measurement is a process of its own on a new database. The work is the
same for all: dogs are registered and learn nine tricks each, fifty of them at a
time, and a view keeps a row for each dog and a row with counts. Ratios within
one run count; figures vary with the machine. The table is also written to
``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measuring import measure
from tests.support.databases import SERVERS, SQLITE_URL, find

RESULTS = Path(__file__).parent / "results"

ROUNDS = 3
BATCH_SIZES = (1, 10, 100, 500, 2000)
SLOW_EVENTS = 3_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument(
        "--quick", action="store_true", help="One round, no memory at a million events."
    )
    options = parser.parse_args(arguments)
    with _databases() as databases:
        lines = [
            *_rates(databases, options.events, 1 if options.quick else ROUNDS),
            "",
            *_latencies(databases),
            "",
            *_sparse(databases),
            "",
            *_memory(databases, options.quick),
        ]
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"projections-{datetime.now(UTC):%Y%m%d-%H%M%S}.txt"
    file.write_text("\n".join(lines) + "\n")
    print(f"\nwritten to {file.relative_to(Path.cwd())}")
    return 0


def _rates(databases: dict[str, str], events: int, rounds: int) -> Iterator[str]:
    """Yield a line for each way of running, all rounds in turns."""
    ways: list[tuple[str, dict[str, Any]]] = []
    if "PostgreSQL" in databases:
        peer = {"way": "peer", "size": 1, "events": SLOW_EVENTS}
        ways.append(("PostgreSQL", peer))
    for name in databases:
        for way in ("count", "orm", "rows"):
            for size in BATCH_SIZES:
                slow = SLOW_EVENTS if size < 100 or way != "rows" else events
                ways.append((name, {"way": way, "size": size, "events": slow}))
    ways += [(n, {"way": "store", "size": 2000, "events": events}) for n in databases]
    measured: list[list[dict[str, float]]] = [[] for _ in ways]
    for _ in range(rounds):
        for index, (name, way) in enumerate(ways):
            measured[index].append(
                measure("measure_projection", databases[name], **way)
            )
    rates = [statistics.median(m["rate"] for m in results) for results in measured]
    base = rates[0] if ways[0][1]["way"] == "peer" else None
    yield from _printed(
        f"{'database':<11}{'way':<34}{'batch':>6}{'events/s':>10}"
        f"{'x peer':>8}{'CPU µs/event':>14}"
    )
    names = {
        "peer": "the library's runner and view",
        "count": "plain ORM, one statement an event",
        "orm": "plain ORM, three statements",
        "rows": "rows",
        "store": "rows, from the embedded server",
    }
    for (name, way), results, rate in zip(ways, measured, rates, strict=True):
        cpu = statistics.median(m["cpu_us"] for m in results)
        ratio = f"{rate / base:.1f}" if base else "-"
        yield from _printed(
            f"{name:<11}{names[way['way']]:<34}{way['size']:>6}{rate:>10,.0f}"
            f"{ratio:>8}{cpu:>14.1f}"
        )


def _latencies(databases: dict[str, str]) -> Iterator[str]:
    yield from _printed("from save() to a row that is seen, live, in ms")
    for name, url in databases.items():
        m = measure("measure_projection", url, way="latency", size=500, events=300)
        yield from _printed(f"{name:<11}p50 {m['p50']:.1f}  p99 {m['p99']:.1f}")


def _sparse(databases: dict[str, str]) -> Iterator[str]:
    yield from _printed("one event in a thousand is the projection's")
    m = measure(
        "measure_projection",
        databases["SQLite"],
        way="sparse",
        size=500,
        events=100_000,
    )
    yield from _printed(
        f"passed over at {m['rate']:,.0f} events/s until the position is at the head; "
        f"reading all of them {m['reading']:,.0f}"
    )


def _memory(databases: dict[str, str], quick: bool) -> Iterator[str]:
    yield from _printed("peak memory in MB")
    url = databases["SQLite"]
    for events in (100_000,) if quick else (100_000, 1_000_000):
        m = measure("measure_projection", url, way="memory", size=500, events=events)
        yield from _printed(f"{events:>9,} events {m['peak_mb']:.1f}")


def _printed(line: str) -> Iterator[str]:
    print(line, flush=True)
    yield line


@contextmanager
def _databases() -> Iterator[dict[str, str]]:
    found = {"SQLite": SQLITE_URL}
    for server in SERVERS:
        where = find(server)
        if where.url:
            found[where.name] = where.url
        else:
            print(f"{where.name}: not measured, {where.report}")
    yield found


if __name__ == "__main__":
    sys.exit(main())
