"""
Run the tests: on SQLite, and what uses a database on each other one, too.

Options that are not of this module are passed on to pytest. ``REQUIRE_DATABASES`` may
name databases, separated by commas, without which the run counts as failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests.support.databases import SERVERS, SQLITE_URL, find

# Tests wait for processes and pauses most of the time.
_WORKERS_FOR_A_CORE = 2
# Of pytest: no test was selected.
_NO_TESTS = 5


def main() -> int:
    """Run and print which databases it ran on; return the worst exit status."""
    options, arguments = _parser().parse_known_args()
    lines = []
    worst = 0
    missing = _required()
    for name, url, report, expression in [
        ("SQLite", SQLITE_URL, "", options.m),
        *(
            (f.name, f.url, f.report, _both("database", options.m))
            for f in map(find, SERVERS)
        ),
    ]:
        if not url:
            lines.append(f"{name}: not run, {report}")
            continue
        print(f"\n=== Tests on {name} {report}\n", flush=True)  # noqa: T201
        status = subprocess.run(
            [
                *([sys.executable, "-m"]),
                *(["coverage", "run", "-m"] if options.coverage else []),
                *("pytest", "-n", str(options.workers), "--dist", "worksteal"),
                *("-m", expression, *arguments),
            ],
            env=_environment(url),
        ).returncode
        if status != _NO_TESTS:
            worst = worst or status
            missing.discard(name.casefold())
        passed = status in (0, _NO_TESTS)
        lines.append(f"{name}: {'passed' if passed else 'FAILED'} {report}")
    print("\n=== Databases")  # noqa: T201
    print("\n".join(line.rstrip() for line in lines), flush=True)  # noqa: T201
    if missing:
        print(f"Required but not run: {', '.join(sorted(missing))}")  # noqa: T201
    return worst or int(bool(missing))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests", description=__doc__, allow_abbrev=False
    )
    parser.add_argument(
        "-n",
        dest="workers",
        type=int,
        default=_WORKERS_FOR_A_CORE * (os.cpu_count() or 1),
        help="processes that run tests at the same time; 0: none but this",
    )
    parser.add_argument(
        "-m", default="", metavar="EXPRESSION", help='markers, such as "not slow"'
    )
    parser.add_argument(
        "--coverage", action="store_true", help="note which code is run"
    )
    return parser


def _environment(url: str) -> dict[str, str]:
    """
    Return the variables for a run on the database with this URL.

    Where Python is told to leave no compiled modules beside the code, they are kept in
    the environment: without them each process that a test starts compiles them all.
    """
    env = {**os.environ, "DATABASE_URL": url}
    if env.pop("PYTHONDONTWRITEBYTECODE", None):
        env.setdefault("PYTHONPYCACHEPREFIX", str(Path(sys.prefix, "pycache")))
    return env


def _both(*expressions: str) -> str:
    """Return the expression of markers that all of these select."""
    return " and ".join(f"({each})" for each in expressions if each)


def _required() -> set[str]:
    """Return the databases that have to be there, in lower case."""
    names = os.environ.get("REQUIRE_DATABASES", "").split(",")
    return {name.strip().casefold() for name in names if name.strip()}


if __name__ == "__main__":
    sys.exit(main())
