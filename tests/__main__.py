"""
Run the tests: on SQLite, and what uses a database on each other one, too.

Options that are not of this module are passed on to pytest. ``REQUIRE_DATABASES`` may
name databases, separated by commas, without which the run counts as failed. What takes
longer than ``--minutes`` is ended, and says what each of its threads was doing.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from tests.support.databases import SERVERS, SQLITE_URL, WITHOUT_DATABASE, find

# Tests wait for processes and pauses much of the time. Each worker costs some seconds,
# since it looks for all tests by itself.
_WORKERS_FOR_A_CORE = 2
# Each worker is spared looking through them.
_WITHOUT_OTHERS = [
    f"--ignore={Path(__file__).parent / folder}" for folder in WITHOUT_DATABASE
]
# Several times what the longest one takes on two cores.
_MINUTES = 30
# Of pytest: no test was selected.
_NO_TESTS = 5


def main() -> int:
    """Run and print which databases it ran on; return 1 if any run has failed."""
    options, arguments = _parser().parse_known_args()
    workers = options.workers
    # Where they run side by side, they use the processor while SQLite's wait.
    fewer = workers if options.in_turn else max(1, workers - 1)
    runs = [
        _Run(name, url, report, [*_command(options, number, expression), *more])
        for name, url, report, number, expression, more in [
            ("SQLite", SQLITE_URL, "", workers, options.m, arguments),
            *(
                (
                    *(f.name, f.url, f.report, fewer, _both("database", options.m)),
                    [*_WITHOUT_OTHERS, *arguments],
                )
                for f in map(find, SERVERS)
            ),
        ]
    ]
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _run_all(runs, 60 * options.minutes, is_in_turn=options.in_turn)
    except KeyboardInterrupt:
        for run in runs:
            run.interrupt()
        return 128 + signal.SIGINT
    print("\n=== Databases")  # noqa: T201
    print("\n".join(run.line for run in runs), flush=True)  # noqa: T201
    missing = _required() - {run.name.casefold() for run in runs if run.has_tests}
    if missing:
        print(f"Required but not run: {', '.join(sorted(missing))}")  # noqa: T201
    return int(bool(missing) or any(run.has_failed for run in runs))


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _run_all(runs: list[_Run], seconds: float, *, is_in_turn: bool) -> None:
    if is_in_turn:
        for run in runs:
            run.run(seconds, is_shown=True)
        return
    # SQLite's are as many as all others together. Side by side each has the processor
    # while the other waits.
    others = threading.Thread(target=_run_each, args=(runs[1:], seconds), daemon=True)
    others.start()
    runs[0].run(seconds, is_shown=True)
    others.join()
    for run in runs[1:]:
        run.show()


def _run_each(runs: Iterable[_Run], seconds: float) -> None:
    for run in runs:
        run.run(seconds)


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
        self._process: subprocess.Popen[bytes] | None = None
        self._is_late = False

    @property
    def has_tests(self) -> bool:
        """Whether some were run there."""
        return self.status not in (None, _NO_TESTS)

    @property
    def has_failed(self) -> bool:
        """Whether they were to run, and did not pass."""
        return bool(self._url) and self.status not in (0, _NO_TESTS)

    def run(self, seconds: float, *, is_shown: bool = False) -> None:
        """
        Run them, and show what they say now or when asked to; blocks.

        After so many seconds they are ended by a signal at which Python's faulthandler
        prints what each thread is doing.
        """
        if not self._url:
            return
        if is_shown:
            self._print_title()
        self._process = subprocess.Popen(
            self._command,
            env=_environment(self._url),
            stdout=None if is_shown else self._output,
            stderr=None if is_shown else subprocess.STDOUT,
            # With its workers it can be ended as a whole.
            start_new_session=True,
        )
        try:
            self.status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._is_late = True
            self._signal(signal.SIGABRT)
            self.status = self._process.wait()

    def interrupt(self) -> None:
        """End it, if it runs, as by Ctrl-C, which does not reach it itself; blocks."""
        self._signal(signal.SIGINT)
        if self._process is not None:
            self._process.wait()

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
        if self._is_late:
            return f"{self.name}: FAILED, took too long {self._report}".rstrip()
        passed = "FAILED" if self.has_failed else "passed"
        return f"{self.name}: {passed} {self._report}".rstrip()

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the run."""
        if self._process is None or self._process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _print_title(self) -> None:
        print(f"\n=== Tests on {self.name} {self._report}\n", flush=True)  # noqa: T201


def _command(options: argparse.Namespace, workers: int, expression: str) -> list[str]:
    return [
        *([sys.executable, "-m"]),
        *(["coverage", "run", "-m"] if options.coverage else []),
        *("pytest", "-n", str(workers), "--dist", "worksteal"),
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
        help="processes that run tests at the same time, and half as many on another "
        "database side by side with them; 0: none but pytest's own",
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
        "--minutes",
        type=float,
        default=_MINUTES,
        help="how long the tests on a database may take (%(default)s)",
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
