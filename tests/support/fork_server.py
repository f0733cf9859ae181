"""
Python processes that begin with what they need already imported.

Importing is most of what a management command costs. A process of this module imports
once, opens nothing and sets nothing up, and is forked for each command. As children of
the process that asked, commands are waited for, signalled and killed as any others.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# None of these reads a setting, starts a thread or opens a connection.
_MODULES = (
    "MySQLdb",
    "django.contrib.staticfiles.apps",
    "django.core.handlers.wsgi",
    "django.core.management.commands.migrate",
    "django.core.management.commands.check",
    "django.db.migrations.writer",
    "django.db.models.sql.compiler",
    "django.db.backends.sqlite3.base",
    "django.forms",
    "django.middleware.csrf",
    "django.template.loader_tags",
    "django.views.debug",
    "django.views.generic",
    "django_esdb",
    "environ",
    "eventsourcing.projection",
    "eventsourcing_eventstoredb.factory",
    "eventsourcing_eventstoredb.subscriptions",
    "psycopg",
    "rich.progress",
    "rich.table",
)
# Python and libraries read these when they start, or are loaded.
_READ_EARLY = (
    "PYTHON",
    "COVERAGE",
    "EVENTSTOREDB_CLIENT",
    "GRPC",
    "LD_",
    "LC_",
    "LANG",
)
_PR_SET_CHILD_SUBREAPER = 36
_MAX_REQUEST = 1 << 20


def popen(
    arguments: list[str], env: Mapping[str, str], cwd: Path, *, fresh: bool = False
) -> subprocess.Popen[str]:
    """
    Start Python with pipes for what it prints, forked where that makes no difference.

    Args:
        arguments: A script and its arguments, or ``-c`` and code.
        env: The whole environment.
        cwd: The folder it starts in.
        fresh: Whether it is to have nothing imported.
    """
    kind = _Forked if not fresh and _can_be_forked(arguments, env) else subprocess.Popen
    return kind(
        [sys.executable, *arguments],
        env=env,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _can_be_forked(arguments: list[str], env: Mapping[str, str]) -> bool:
    def early(variables: Mapping[str, str]) -> dict[str, str]:
        return {k: v for k, v in variables.items() if k.startswith(_READ_EARLY)}

    return (
        sys.platform == "linux"
        # Starts itself again, by what it finds of how it was started.
        and not {"--reload", "runserver"} & set(arguments)
        and early(env) == early(os.environ)
    )


class _Forked(subprocess.Popen[str]):
    """A process that the fork server makes; Popen's own knows only new programs."""

    def _execute_child(
        self,
        args: list[str],
        executable: Any,
        preexec_fn: Any,
        close_fds: Any,
        pass_fds: Any,
        cwd: Path,
        env: Mapping[str, str],
        startupinfo: Any,
        creationflags: Any,
        shell: Any,
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        *more: Any,
    ) -> None:
        try:
            self.pid = _server().fork(args[1:], env, cwd, (0, c2pwrite, errwrite))
            self._child_created = True
        finally:
            self._close_pipe_fds(  # type: ignore[attr-defined]
                p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite
            )


class _Server:
    """The other end of a process that imports, and then forks when it is asked to."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._lock = threading.Lock()
        self._libc = ctypes.CDLL(None)
        self._socket, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET, 0
        )
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=Path(__file__).parents[2],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        atexit.register(self.close)

    def fork(
        self,
        arguments: list[str],
        env: Mapping[str, str],
        cwd: Path,
        descriptors: tuple[int, ...],
    ) -> int:
        """Have a process forked; return its ID. It is a child of this process."""
        request = json.dumps([arguments, dict(env), str(cwd)]).encode()
        with self._lock:
            # The process between this and that one ends, and leaves its child to this.
            self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._socket, [request], descriptors)
                return int(self._socket.recv(32))
            finally:
                self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def close(self) -> None:
        """End the server; processes that it has forked go on."""
        if self.owner == os.getpid():
            self._socket.close()
            self._process.wait()


_servers: list[_Server] = []


def _server() -> _Server:
    if not _servers or _servers[-1].owner != os.getpid():
        _servers.append(_Server())
    return _servers[-1]


def _serve(own: socket.socket) -> tuple[list[str], dict[str, str], str] | None:
    """Fork for each request; return it in the new process, and nothing in the end."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(own, _MAX_REQUEST, 3)
        if not data:
            return None
        read, write = os.pipe()
        between = os.fork()
        if not between:
            child = os.fork()
            if child:
                os.write(write, str(child).encode())
                # Without whatever is done at the end of a process that has run code.
                os.kill(os.getpid(), signal.SIGKILL)
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
                os.close(descriptor)
            for descriptor in (read, write, own.detach()):
                os.close(descriptor)
            arguments, env, cwd = json.loads(data)
            return arguments, env, cwd
        for descriptor in (*descriptors, write):
            os.close(descriptor)
        os.waitpid(between, 0)
        # Not before: only now it is the child of who asks.
        own.send(os.read(read, 32))
        os.close(read)


def _run(arguments: list[str], env: dict[str, str], cwd: str) -> None:
    """Be the process that was asked for."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    if arguments[0] == "-c":
        code, name = arguments[1], "<string>"
        sys.argv, sys.path[0] = ["-c", *arguments[2:]], ""
    else:
        path = Path(arguments[0])
        code, name = path.read_text(), str(path)
        sys.argv, sys.path[0] = arguments, str(path.parent)
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if name != "<string>":
        main.__file__ = name
    exec(compile(code, name, "exec", dont_inherit=True), main.__dict__)


def _import() -> None:
    for name in _MODULES:
        # Drivers are not there everywhere.
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            continue


def main() -> None:
    """Import, and serve at the socket of which the argument is the descriptor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    own = socket.socket(fileno=int(sys.argv[1]))
    _import()
    gc.freeze()
    request = _serve(own)
    if request is not None:
        _run(*request)


if __name__ == "__main__":
    main()
