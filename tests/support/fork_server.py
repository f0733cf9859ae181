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
import runpy
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

# None of these reads a setting, starts a thread or opens a connection.
_MODULES = (
    "MySQLdb",
    "django.contrib.admin",
    "django.contrib.admin.templatetags.admin_list",
    "django.contrib.admin.views.main",
    "django.contrib.auth.hashers",
    "django.contrib.auth.management",
    "django.contrib.auth.password_validation",
    "django.contrib.messages.api",
    "django.contrib.sessions.middleware",
    "django.contrib.staticfiles.apps",
    "django.core.handlers.wsgi",
    "django.core.management.commands.check",
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.db.migrations.writer",
    "django.db.models.sql.compiler",
    "django.db.backends.sqlite3.base",
    "django.forms",
    "django.middleware.csrf",
    "django.template.loader_tags",
    "django.views.debug",
    "django.views.generic",
    "django_esdb",
    "django_esdb.db.effects",
    "django_esdb.db.exchanging",
    "django_esdb.db.functions",
    "django_esdb.db.many_rows",
    "django_esdb.db.sessions",
    "django_esdb.debugging.statements",
    "django_esdb.management.progress",
    "django_esdb.subscriptions.heads",
    "django_esdb.subscriptions.subscribing",
    "environ",
    "eventsourcing.popo",
    "eventsourcing.projection",
    "eventsourcing_eventstoredb.factory",
    "eventsourcing_eventstoredb.server.cli",
    "eventsourcing_eventstoredb.subscriptions",
    "psutil",
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
_ENDING = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
_MAX_REQUEST = 1 << 20
# Importing takes a second or two, on a machine that is not busy with other things.
_ANSWER_SECONDS = 120
_END_SECONDS = 10


def popen(
    arguments: list[str],
    env: Mapping[str, str],
    cwd: Path,
    *,
    fresh: bool = False,
    errors: IO[str] | int | None = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """
    Start Python with pipes for what it prints, forked where that makes no difference.

    Args:
        arguments: A script, ``-c`` and code, or ``-m`` and a module, and its arguments.
        env: The whole environment.
        cwd: The folder it starts in.
        fresh: Whether it is to have nothing imported.
        errors: Where standard error goes.
    """
    kind = _Forked if not fresh and _can_be_forked(arguments, env) else subprocess.Popen
    return kind(
        [sys.executable, *arguments],
        env=env,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=errors,
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
            # It has this one's standard error, too, unless it is given another one.
            errors = 2 if errwrite == -1 else errwrite
            self.pid = _server().fork(args[1:], env, cwd, (0, c2pwrite, errors))
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
        self._socket.settimeout(_ANSWER_SECONDS)
        # It is in the group of this process, so that its children are; what is sent to
        # the group must not end it before this process is done with it.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__, str(theirs.fileno())],
                    cwd=Path(__file__).parents[2],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
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
            except (OSError, ValueError):
                # What it says later would be taken for the answer to another request.
                self.close()
                _servers.remove(self)
                raise
            finally:
                self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def close(self) -> None:
        """End the server; processes that it has forked go on."""
        if self.owner == os.getpid():
            self._socket.close()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                # Somebody else has its socket, such as a process that a test forked.
                self._process.kill()
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
    # It may be the child of who ignores it, such as a shell's background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    if arguments[0] == "-m":
        sys.argv, sys.path[0] = arguments[1:], cwd
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
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


def _keep_for_good() -> None:
    """
    Have no process destroy what was imported here when it ends.

    That takes longer than all else in one that does little. What a process imports and
    makes itself is destroyed as ever.
    """
    everything = gc.get_objects()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(everything))


def main() -> None:
    """Import, and serve at the socket of which the argument is the descriptor."""
    own = socket.socket(fileno=int(sys.argv[1]))
    _import()
    _keep_for_good()
    gc.freeze()
    request = _serve(own)
    if request is not None:
        _run(*request)


if __name__ == "__main__":
    main()
