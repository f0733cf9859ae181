"""What all benchmarks are told in the same way, and where they write."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

_RESULTS = Path(__file__).parents[1] / "results"


def new_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser for a benchmark's options, with those that each has."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.bench_{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--uri",
        help="event store that runs, to measure with in place of the embedded server; "
        "it is filled with events",
    )
    parser.add_argument("--quick", action="store_true", help="take a few minutes only")
    return parser


def write_results(name: str, lines: Iterable[str]) -> None:
    """Write what was measured to a file, and print which."""
    _RESULTS.mkdir(exist_ok=True)
    file = _RESULTS / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}.txt"
    file.write_text("\n".join(lines) + "\n")
    print(f"\nwritten to {file}")
