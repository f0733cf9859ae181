"""
What metrics and traces cost, next to what a batch costs.

    python -m benchmarks.bench_metrics [--quick]

One process measures, in turns, the CPU time of batches without receivers, of one live
event and of 500, and that of sending what a batch sends: to none, to the metrics for
Prometheus, and to OpenTelemetry's spans, which are made and dropped. The least of all
turns counts, since what else the machine does only adds to it. The last columns say
which part of a batch's time that is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.support.databases import databases
from benchmarks.support.measuring import measure
from benchmarks.support.options import new_parser, write_results


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 0."""
    options = new_parser("metrics", __doc__).parse_args(arguments)
    if options.uri:
        print("No event store is measured with here, so --uri is not used.")
    found = measure(
        "measure_metrics", databases()["SQLite"], turns=3 if options.quick else 9
    )
    batches, ways = found["batches"], found["ways"]
    lines = [
        f"{f'batch of {size} events':<24}{micros:>10,.1f} µs"
        for size, micros in batches.items()
    ]
    lines += [
        f"{f'told to {way}':<24}{micros:>10,.2f} µs"
        + "".join(
            f"{micros / whole:>10.2%} of {size}" for size, whole in batches.items()
        )
        for way, micros in ways.items()
    ]
    for line in lines:
        print(line)
    write_results("metrics", lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
