"""
Whether anything grows while projections run for long.

    python -m benchmarks.bench_leaks [--events N] [--reconnections N] [--seconds N]
        [--quick] [--uri URI]

``runprojections`` is a process of its own, with its default settings, and so are the
event store and what writes to it. Events are written while they are processed. Then
connections to the event store are cut, and those to the database ended, again and
again. Each part takes at most ``--seconds``, and says how far it got. The exit
status is 1 if something has grown by more than the limit that is printed. The table is
also written to ``benchmarks/results/``. Linux only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.support.databases import databases
from benchmarks.support.measuring import measure
from benchmarks.support.options import new_parser, write_results

# How much more memory there may be at the end than after a fifth of the events.
MEMORY_LIMIT = 1.10
# Of threads, descriptors and connections, which come and go.
COUNT_LIMIT = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 if something has grown."""
    parser = new_parser("leaks", __doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--reconnections", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=300)
    options = parser.parse_args(arguments)
    if options.quick:
        options.events, options.reconnections = 100_000, 50
    name, url = _database()
    given = {"seconds": options.seconds, "uri": options.uri}
    lines: list[str] = []
    grown = False
    for way, count, report in (
        ("memory", options.events, _memory),
        ("reconnections", options.reconnections, _reconnections),
    ):
        measured = measure("measure_leaks", url, way=way, count=count, **given)
        for line, is_grown in report(name, measured):
            print(line, flush=True)
            lines.append(line)
            grown = grown or is_grown
    write_results("leaks", lines)
    return int(grown)


def _memory(name: str, measured: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield lines, and whether each says that something has grown."""
    steps = measured["steps"]
    yield (
        f"{name}: live events, {measured['rate']:,.0f}/s, and resident memory of "
        "runprojections in MB",
        False,
    )
    for step in steps:
        yield f"{step['events']:>9,} events {step['memory_kb'] / 1024:>8.1f}", False
    # Before that pools and caches are filled.
    settled = steps[max(len(steps) // 5 - 1, 0)]
    last = steps[-1]
    ratio = last["memory_kb"] / settled["memory_kb"]
    yield (
        f"growth after the first {settled['events']:,}: {ratio:.3f} "
        f"(limit {MEMORY_LIMIT}); threads {settled['threads']} -> {last['threads']}, "
        f"descriptors {settled['descriptors']} -> {last['descriptors']}",
        ratio > MEMORY_LIMIT or last["threads"] > settled["threads"] + COUNT_LIMIT,
    )


def _reconnections(name: str, measured: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield lines, and whether each says that something has grown."""
    yield (
        f"{name}: {measured['cuts']:,} connections to the event store cut, all to the "
        f"database ended {measured['kills']:,} times",
        False,
    )
    before, after = measured["before"], measured["after"]
    for what in ("threads", "descriptors", "connections"):
        growth = after[what] - before[what]
        yield (
            f"{what:<12} {before[what]:>4} -> {after[what]:>4} (limit +{COUNT_LIMIT})",
            growth > COUNT_LIMIT,
        )
    ratio = after["memory_kb"] / before["memory_kb"]
    yield f"memory       {ratio:.3f} (limit {MEMORY_LIMIT})", ratio > MEMORY_LIMIT


def _database() -> tuple[str, str]:
    """Return PostgreSQL, or SQLite where there is none."""
    found = databases()
    name = "PostgreSQL" if "PostgreSQL" in found else "SQLite"
    return name, found[name]


if __name__ == "__main__":
    sys.exit(main())
