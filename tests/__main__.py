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
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from tests.support.databases import SERVERS, SQLITE_URL, find

# Tests wait for processes and pauses most of the time.
_WORKERS_FOR_A_CORE = 2
# Of pytest: no test was selected.
_NO_TESTS = 5


def main() -> int:
    """Run and print which databases it ran on; return 1 if any run has failed."""
    options, arguments = _parser().parse_known_args()
    runs = [
        _Run(name, url, report, [*_command(options, expression), *arguments])
        for name, url, report, expression in [
            ("SQLite", SQLITE_URL, "", options.m),
            *(
                (f.name, f.url, f.report, _both("database", options.m))
                for f in map(find, SERVERS)
            ),
        ]
    ]
    # SQLite's are as many as all others together. Side by side each has the processor
    # while the other waits.
    others = threading.Thread(target=_run_each, args=(runs[1:],))
    if not options.in_turn:
        others.start()
    runs[0].run(is_shown=True)
    if options.in_turn:
        others.start()
    others.join()
    for run in runs[1:]:
        run.show()
    print("\n=== Databases")  # noqa: T201
    print("\n".join(run.line for run in runs), flush=True)  # noqa: T201
    missing = _required() - {run.name.casefold() for run in runs if run.has_tests}
    if missing:
        print(f"Required but not run: {', '.join(sorted(missing))}")  # noqa: T201
    return int(bool(missing) or any(run.has_failed for run in runs))


class _Run:
    """
    The tests on one database.

    Attributes:
        name: The database's.
        status: pytest's exit status; None as long as it was not run.
    """

    def __init__(self, name: str, url: str, report: str, command: list[str]) -> None:
        self.name = name
        self.status: int | None = None
        self._url = url
        self._report = report
        self._command = command
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (read later)

    @property
    def has_tests(self) -> bool:
        """Whether some were run there."""
        return self.status not in (None, _NO_TESTS)

    @property
    def has_failed(self) -> bool:
        """Whether they were to run, and did not pass."""
        return bool(self._url) and self.status not in (0, _NO_TESTS)

    def run(self, *, is_shown: bool = False) -> None:
        """Run them, and show what they say now or when asked to; blocks."""
        if not self._url:
            return
        if is_shown:
            self._print_title()
        self.status = subprocess.run(
            self._command,
            env=_environment(self._url),
            stdout=None if is_shown else self._output,
            stderr=None if is_shown else subprocess.STDOUT,
        ).returncode

    def show(self) -> None:
        """Print what they have said."""
        if self._url:
            self._print_title()
            self._output.seek(0)
            sys.stdout.buffer.write(self._output.read())
            sys.stdout.flush()

    @property
    def line(self) -> str:
        """How it ended."""
        if not self._url:
            return f"{self.name}: not run, {self._report}"
        passed = "FAILED" if self.has_failed else "passed"
        return f"{self.name}: {passed} {self._report}".rstrip()

    def _print_title(self) -> None:
        print(f"\n=== Tests on {self.name} {self._report}\n", flush=True)  # noqa: T201


def _run_each(runs: Iterable[_Run]) -> None:
    for run in runs:
        run.run()


def _command(options: argparse.Namespace, expression: str) -> list[str]:
    return [
        *([sys.executable, "-m"]),
        *(["coverage", "run", "-m"] if options.coverage else []),
        *("pytest", "-n", str(options.workers), "--dist", "worksteal"),
        *("-m", expression),
    ]


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
        "--in-turn",
        action="store_true",
        help="use one database after the other, not SQLite and the others side by side",
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
