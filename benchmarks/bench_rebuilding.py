"""
How fast rebuilds are, next to catching up on the same events.

    python -m benchmarks.bench_rebuilding [--events N] [--quick] [--uri URI]

Each database is measured in a process of its own, with a new database. Both are done in
turns, from an event store in another process: a projection that has never run catches
up with batches of ``ESDB_BATCH_SIZE``; then it is rebuilt, with the time that it takes
to delete what is there. Ratios within one run count; figures vary with the machine.

In the log ``mixed`` two thousand dogs' events are mixed, so that rows that were
changed are changed again some batches later; in ``sorted`` each dog's ten events lie
together, so that hardly a row is read or changed after the batch that it was made in.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.support.databases import databases
from benchmarks.support.measuring import measure
from benchmarks.support.options import new_parser, write_results

ROUNDS = 3
SLOW_EVENTS = 3_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    parser = new_parser("rebuilding", __doc__)
    parser.add_argument("--events", type=int, default=50_000)
    options = parser.parse_args(arguments)
    lines = [
        f"{'database':<11}{'way':<6}{'log':<8}{'events':>9}{'catching up/s':>15}"
        f"{'rebuild/s':>11}{'ratio':>7}{'CPU µs/event':>16}"
    ]
    print(lines[0], flush=True)
    for way, log in (("rows", "mixed"), ("rows", "sorted"), ("orm", "mixed")):
        for name, url in databases().items():
            events = options.events if way == "rows" else SLOW_EVENTS
            found = measure(
                "measure_rebuild",
                url,
                way=way,
                log=log,
                events=events,
                rounds=1 if options.quick else ROUNDS,
                uri=options.uri,
            )
            before, after = found["caught_up_rate"], found["rebuilt_rate"]
            lines.append(
                f"{name:<11}{way:<6}{log:<8}{events:>9,}{before:>15,.0f}{after:>11,.0f}"
                f"{after / before:>7.2f}"
                f"{found['caught_up_cpu']:>9.0f}{found['rebuilt_cpu']:>7.0f}"
            )
            print(lines[-1], flush=True)
    write_results("rebuilding", lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
