"""
How fast projections are, next to the library's own runner and view.

    python -m benchmarks.bench_projections [--events N] [--quick] [--uri URI]

Each measurement is a process of its own on a new database. The work is the
same for all: dogs are registered and learn nine tricks each, fifty of them at a
time, and a view keeps a row for each dog and a row with counts. Ratios within
one run count; figures vary with the machine. The table is also written to
``benchmarks/results/``.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.support.databases import databases
from benchmarks.support.measuring import measure
from benchmarks.support.options import new_parser, write_results

ROUNDS = 3
BATCH_SIZES = (1, 10, 100, 500, 2000)
SLOW_EVENTS = 3_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    parser = new_parser("projections", __doc__)
    parser.add_argument("--events", type=int, default=60_000)
    options = parser.parse_args(arguments)
    found = databases()
    rounds = 1 if options.quick else ROUNDS
    lines = [
        *_rates(found, options.events, rounds, options.uri),
        "",
        *_latencies(found, options.uri),
        "",
        *_sparse(found, options.uri),
        "",
        *_memory(found, options.quick),
    ]
    write_results("projections", lines)
    return 0


def _rates(
    databases: dict[str, str], events: int, rounds: int, uri: str | None
) -> Iterator[str]:
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
    store = {"way": "store", "size": 2000, "events": events, "uri": uri}
    ways += [(name, store) for name in databases]
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
        "store": "rows, from the event store",
    }
    for (name, way), results, rate in zip(ways, measured, rates, strict=True):
        cpu = statistics.median(m["cpu_us"] for m in results)
        ratio = f"{rate / base:.1f}" if base else "-"
        yield from _printed(
            f"{name:<11}{names[way['way']]:<34}{way['size']:>6}{rate:>10,.0f}"
            f"{ratio:>8}{cpu:>14.1f}"
        )


def _latencies(databases: dict[str, str], uri: str | None) -> Iterator[str]:
    yield from _printed("from save() to a row that is seen, live, in ms")
    for name, url in databases.items():
        m = measure(
            "measure_projection", url, way="latency", size=500, events=300, uri=uri
        )
        yield from _printed(f"{name:<11}p50 {m['p50']:.1f}  p99 {m['p99']:.1f}")


def _sparse(databases: dict[str, str], uri: str | None) -> Iterator[str]:
    yield from _printed("one event in a thousand is the projection's")
    m = measure(
        "measure_projection",
        databases["SQLite"],
        way="sparse",
        size=500,
        events=100_000,
        uri=uri,
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


if __name__ == "__main__":
    sys.exit(main())
