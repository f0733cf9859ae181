"""
Run benchmarks, each in a process of its own: those named, or all of them in turn.

Options are passed on to each. ``python -m benchmarks.bench_NAME --help`` shows those
that only one has.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_PREFIX = "bench_"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; return the worst exit status."""
    benchmarks = _benchmarks()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="benchmarks:\n"
        + "".join(f"  {name:<12} {about}\n" for name, about in benchmarks.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="benchmark to run; all by default"
    )
    parser.add_argument("--uri", help="event store that runs, to measure with")
    parser.add_argument("--quick", action="store_true", help="take a few minutes only")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in benchmarks:
            parser.error(f"no benchmark {name!r}: there are {', '.join(benchmarks)}")
    passed_on = [
        *(("--uri", options.uri) if options.uri else ()),
        *(("--quick",) if options.quick else ()),
    ]
    worst = 0
    for name in options.names or benchmarks:
        print(f"\n=== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{_PREFIX}{name}", *passed_on]
        worst = max(worst, subprocess.run(command).returncode)
    return worst


def _benchmarks() -> dict[str, str]:
    """Return what each is about, in a line, by name; none of them is imported."""
    return {
        file.stem.removeprefix(_PREFIX): (
            (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
        )
        for file in sorted(Path(__file__).parent.glob(f"{_PREFIX}*.py"))
    }


if __name__ == "__main__":
    sys.exit(main())
