"""
The server in the background: started by one command, stopped by another.

The running server holds a lock on its pid file. The lock, which ends with the
process, says whether it runs; the number in the file only says whom to signal, and is
believed only while the lock is held.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from eventsourcing_eventstoredb.server.cli import (
    DEFAULT_PORT,
    exit_status_help,
    make_server,
    serve_until_stopped,
)
from eventsourcing_eventstoredb.server.exceptions import ServerError, error_line
from eventsourcing_eventstoredb.server.pid_file import (
    DaemonError,
    PidFile,
    running_pid,
)
from eventsourcing_eventstoredb.server.storage.database import DataFileError

EXIT_FAILED: Final = 1
EXIT_STATUSES: Final = {
    "0": "the server runs or does not run, as was wanted",
    "1": "that could not be brought about",
    "2": "an option is wrong",
}

STOP_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02

# Internal: what the process in the background is started with.
_SERVE: Final = "serve"

_RUNS_ALREADY: Final = "The event store runs already, as process {}"


def start(pid_file: Path, *, port: int, data: Path | None = None) -> str:
    """
    Start the server in the background, unless it runs; blocks until it listens.

    Args:
        pid_file: Where to note the process.
        port: The port to listen on, 0 for a free one.
        data: The data file; None keeps the events in memory.

    Returns:
        What to tell the user, in one line.

    Raises:
        DaemonError: The server cannot start.
    """
    if running := running_pid(pid_file):
        return _RUNS_ALREADY.format(running)
    command = [sys.executable, "-m", "eventsourcing_eventstoredb.server.daemon", _SERVE]
    command += [f"--pid-file={pid_file}", f"--port={port}"]
    command += [] if data is None else [f"--data={data}"]
    process = subprocess.Popen(  # noqa: S603  (this program itself)
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # Neither closing the terminal nor Ctrl-C in it reaches the server.
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        # Ends when the server listens, which it closes its output for.
        output = process.stdout.read()
    for line in output.splitlines():
        if line.startswith("listening on "):
            # It has no parent to wait for it from now on.
            process.returncode = 0
            return f"The event store is {line}, as process {process.pid}"
    process.wait()
    # Another process may have started one at the same moment.
    if running := running_pid(pid_file):
        return _RUNS_ALREADY.format(running)
    raise DaemonError(" ".join(output.split()) or "The server exited without a message")


def stop(pid_file: Path, *, timeout: float = STOP_SECONDS) -> str:
    """
    Stop the server that the pid file is of; blocks until it has ended.

    Args:
        pid_file: The file that was given to `start`.
        timeout: The most seconds to wait.

    Returns:
        What to tell the user, in one line. A server that does not run is no error.

    Raises:
        DaemonError: It has not ended in time, or the file is no pid file.
    """
    try:
        file = PidFile(pid_file)
    except FileNotFoundError:
        return f"The event store does not run: there is no {pid_file}"
    with file:
        if not file.is_held():
            file.remove()
            return (
                f"The event store does not run: {pid_file} was left over, and "
                f"process {file.pid}, if there is one, is another program"
            )
        with contextlib.suppress(ProcessLookupError):
            os.kill(file.pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout
        while file.is_held():
            if time.monotonic() > deadline:
                msg = (
                    f"Process {file.pid} has not ended within {timeout:g} s of "
                    f"SIGTERM; to end it without more ado: kill -9 {file.pid}"
                )
                raise DaemonError(msg)
            time.sleep(_POLL_SECONDS)
        file.remove()
    return f"The event store, process {file.pid}, has stopped"


def _serve(pid_file: Path, port: int, data: Path | None) -> int:
    file = PidFile.take(pid_file)
    if file is None:
        msg = f"Another server has just taken {pid_file}"
        raise DaemonError(msg)
    # Not closed, so that the lock is held to the very end of this process.
    try:
        serve_until_stopped(make_server(port=port, data=data), _say_and_detach)
    except (DataFileError, ServerError) as error:
        raise DaemonError(error_line(error)) from None
    finally:
        file.remove()
    return 0


def _say_and_detach(line: str) -> None:
    """Tell who started this, and give up the pipe that leads there."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.dup2(null, sys.stderr.fileno())
    os.close(null)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eventsourcing_eventstoredb.server.daemon",
        description="Runs the embedded event store in the background: «start» returns"
        " when it listens, «stop» when it has ended.",
        epilog=exit_status_help(EXIT_STATUSES),
    )
    parser.add_argument("command", choices=("start", "stop", _SERVE))
    parser.add_argument(
        "--pid-file",
        type=Path,
        required=True,
        metavar="FILE",
        help="Where the process is noted.",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help="Port to listen on, 0 for a free one (default: %(default)s).",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="Keep the events in this file instead of in memory.",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Returns:
        The exit status: 0 when the server runs or does not run, as was wanted; 1 when
        that could not be brought about. Wrong options end the process with 2.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.command == _SERVE:
            return _serve(options.pid_file, options.port, options.data)
        if options.command == "start":
            said = start(options.pid_file, port=options.port, data=options.data)
        else:
            said = stop(options.pid_file)
    except DaemonError as error:
        sys.stderr.write(f"{error_line(error)}\n")
        return EXIT_FAILED
    sys.stdout.write(f"{said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
