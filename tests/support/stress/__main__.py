from __future__ import annotations

import argparse
import math
import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from tests.support.databases import SERVERS, SQLITE_URL, Found, find
from tests.support.stress.engine import Outcome, Plan, run

_SCHEMES = {"postgres": "PostgreSQL", "postgresql": "PostgreSQL", "mysql": "MariaDB"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say it in a line, without the usage."""
        self.exit(2, f"{message}; see --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run on each database and print what it survived.

    Returns:
        The exit status: 0 if all agrees, 1 if something does not, 128 + N if a
        signal N has ended it. Wrong options end the process with 2.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    databases = _databases(parser, options.database)
    stopped_by = _note_signals()
    failed = False
    for found in databases:
        if not found.url:
            _say(f"\n{found.name}: not run, {found.report}")
            continue
        _say(f"\n=== {found.name} {found.report}".rstrip())
        with tempfile.TemporaryDirectory(prefix="stress-") as folder:
            outcome = run(
                found.url,
                Path(folder),
                Plan(seed=options.seed, seconds=options.seconds),
                is_stopping=lambda: bool(stopped_by),
            )
        if stopped_by:
            return 128 + stopped_by[0]
        failed |= outcome.failure is not None
        _report(found, outcome, options)
    return int(failed)


def _report(found: Found, outcome: Outcome, options: argparse.Namespace) -> None:
    if outcome.failure is not None:
        for line in outcome.last_words:
            _say(f"worker {line}")
    for what, count in sorted(outcome.survived.items()):
        _say(f"{count:>9,}  {what}")
    if outcome.failure is None:
        _say(f"{found.name}: rows and positions agree with the log")
        return
    _say(
        f"{found.name}: FAILED: {type(outcome.failure).__name__}: {outcome.failure}\n"
        f"Again: python -m tests.support.stress --seconds {options.seconds:g} "
        f"--seed {options.seed} --database {found.name}"
    )


def _databases(parser: _Parser, wanted: str) -> list[Found]:
    """Return what to run on; end the process where that cannot be."""
    sqlite = Found("SQLite", SQLITE_URL, "")
    if wanted.casefold() == "all":
        return [sqlite, *map(find, SERVERS)]
    scheme, separator, _ = wanted.partition(":")
    name = _SCHEMES.get(scheme, scheme) if separator else wanted
    if name.casefold() == "sqlite":
        return [sqlite]
    for server in SERVERS:
        if server.name.casefold() == name.casefold():
            if separator:
                server = replace(server, candidates=(wanted,), variable="--database")
            found = find(server)
            if not found.url:
                parser.error(f"{found.name}: {found.report}")
            return [found]
    known = ", ".join(("all", "SQLite", *(server.name for server in SERVERS)))
    return parser.error(f"unknown database {name!r}: give a URL, or one of {known}")


def _note_signals() -> list[int]:
    """Take the signals that end a program, and only note them."""
    came: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: came.append(number))
    return came


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError
    return value


# What argparse calls the values in its messages.
_seconds.__name__ = "number of seconds"


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m tests.support.stress",
        description="Kills projections, database connections and the event store at"
        " random moments while events are written, and looks whether rows and"
        " positions agree with the log. Exit status: 0 they do, 1 something does not,"
        " 2 wrong options, 128 + N ended by a signal N.",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=120.0,
        help="For how long, on each database (default: %(default)g).",
    )
    parser.add_argument(
        "--database",
        default="all",
        metavar="NAME|URL|all",
        help="On which: a name, a server's URL, or all that can be reached"
        " (default: %(default)s).",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=random.randrange(10**6),
        help="What decides about the order of what is done (default: a random one).",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
