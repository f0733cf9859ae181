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

from filelock import lock_descriptor, unlock_descriptor

from .cli import DEFAULT_PORT, serve_until_stopped
from .database import DataFileError
from .embedded import EmbeddedServer, ServerError

EXIT_FAILED: Final = 1

STOP_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02

# Who asks whether a server runs has its lock for a moment, too. A server has it for
# much longer than this.
_ASKING_SECONDS: Final = 0.1

# Internal: what the process in the background is started with.
_SERVE: Final = "serve"

_RUNS_ALREADY: Final = "The event store runs already, as process {}"
_MAX_DIGITS: Final = 10


class DaemonError(Exception):
    """
    The server can be neither started nor stopped; the message is one line.
    """


class PidFile:
    """
    A pid file that lies in its place. Whoever holds its lock is the server.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is none.
        DaemonError: It cannot be read, or is something else than a pid file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DaemonError(f"Cannot read {path}: {error.strerror}") from None
        try:
            content = os.read(self._descriptor, 32).strip()
        except OSError:
            content = b""
        if not content.isdigit() or len(content) > _MAX_DIGITS:
            os.close(self._descriptor)
            raise DaemonError(f"{path} is not a pid file and is left as it is")
        self.pid = int(content)

    @classmethod
    def take(cls, path: Path) -> PidFile | None:
        """
        Put a locked file with this process's number in place, if no server has one.

        It is locked and written first, so that a locked file always says who has it.
        """
        # Not inherited by other programs, which would hold the lock too.
        own = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            descriptor = os.open(own, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            raise DaemonError(f"Cannot write {path}: {error.strerror}") from None
        lock_descriptor(descriptor)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        try:
            while True:
                try:
                    os.link(own, path)
                    break
                except FileExistsError:
                    if running_pid(path):
                        os.close(descriptor)
                        return None
                    path.unlink(missing_ok=True)
        finally:
            own.unlink()
        file = cls(path)
        # Two descriptors of one file have locks of their own.
        os.close(file._descriptor)
        file._descriptor = descriptor
        return file

    def is_held(self) -> bool:
        """
        Return whether the server that wrote the file runs; blocks for 0.1 s if so.
        """
        deadline = time.monotonic() + _ASKING_SECONDS
        while not lock_descriptor(self._descriptor, blocking=False):
            if time.monotonic() > deadline:
                return True
            time.sleep(_ASKING_SECONDS / 20)
        unlock_descriptor(self._descriptor)
        return False

    def remove(self) -> None:
        """
        Remove the file, unless another one has taken its place.
        """
        try:
            in_place = os.stat(self.path)
        except FileNotFoundError:
            return
        if os.path.samestat(in_place, os.fstat(self._descriptor)):
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> PidFile:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._descriptor)


def running_pid(path: Path) -> int:
    """
    Return the process whose pid file this is and which runs, 0 if none does.

    Raises:
        DaemonError: It cannot be read, or is something else than a pid file.
    """
    try:
        with PidFile(path) as file:
            return file.pid if file.is_held() else 0
    except FileNotFoundError:
        return 0


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
            # It is nobody's child from now on.
            process.returncode = 0
            return f"The event store is {line}, as process {process.pid}"
    process.wait()
    # Somebody else may have started one at the same moment.
    if running := running_pid(pid_file):
        return _RUNS_ALREADY.format(running)
    raise DaemonError(" ".join(output.split()) or "The server ended without a word")


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
                raise DaemonError(
                    f"Process {file.pid} has not ended within {timeout:g} s of "
                    f"SIGTERM; to end it without more ado: kill -9 {file.pid}"
                )
            time.sleep(_POLL_SECONDS)
        file.remove()
    return f"The event store, process {file.pid}, has stopped"


def _serve(pid_file: Path, port: int, data: Path | None) -> int:
    file = PidFile.take(pid_file)
    if file is None:
        raise DaemonError(f"Another server has just taken {pid_file}")
    # Not closed, so that the lock is held to the very end of this process.
    try:
        serve_until_stopped(EmbeddedServer(port=port, data=data), _say_and_detach)
    except (DataFileError, ServerError) as error:
        raise DaemonError(" ".join(str(error).split())) from None
    finally:
        file.remove()
    return 0


def _say_and_detach(line: str) -> None:
    """
    Tell who started this, and give up the pipe that leads there.
    """
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
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    sys.stdout.write(f"{said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
