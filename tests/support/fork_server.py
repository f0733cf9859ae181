"""
Python processes that begin with what they need already imported.

Importing is most of what a management command costs. A process, `forked_commands.py`,
imports once, and is forked for each command. As children of the process that asked,
commands are waited for, signalled and killed as any others.

Of the rest most is to set Django up. Where commands differ in nothing that this depends
on, they are forked from a process that has done it, itself forked from the first one.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

from tests.support import forked_commands, set_up_forks
from tests.support.forked_commands import ENDING, READY

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
# Importing takes a second or two, on a machine that is not busy with other things.
_ANSWER_SECONDS = 120
_END_SECONDS = 10
# Each takes some memory, and what was asked for longest ago is rarely asked for again.
_MOST_SET_UP = 3


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
            self.pid = _servers().fork(args[1:], env, cwd, (0, c2pwrite, errors))
            self._child_created = True
        finally:
            self._close_pipe_fds(  # type: ignore[attr-defined]
                p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite
            )


class _Server:
    """
    The other end of a process that forks when it is asked to.

    Args:
        own: The socket that this process asks at.
        wait: Waits for the other process to end, at most for so many seconds.
        kill: Ends it.
    """

    def __init__(
        self,
        own: socket.socket,
        wait: Callable[[float], object],
        kill: Callable[[], object],
    ) -> None:
        self._owner = os.getpid()
        self._libc = ctypes.CDLL(None)
        self._socket = own
        self._socket.settimeout(_ANSWER_SECONDS)
        self._wait = wait
        self._kill = kill
        self._is_closed = False
        atexit.register(self.close)

    @property
    def is_usable(self) -> bool:
        """Whether it is this process that may ask, and is answered."""
        return self._owner == os.getpid() and not self._is_closed

    def fork(
        self,
        arguments: list[str] | None,
        env: Mapping[str, str],
        cwd: Path,
        descriptors: tuple[int, ...],
    ) -> int:
        """
        Have a process forked; return its ID. It is a child of this process.

        Args:
            arguments: Of Python; None for another server, whose socket is the first
                of the descriptors, and which sets Django up.
            env: The whole environment.
            cwd: The folder it starts in.
            descriptors: What it has as its first three.
        """
        request = json.dumps([arguments, dict(env), str(cwd)]).encode()
        # The process between this and that one ends, and leaves its child to this.
        self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(self._socket, [request], descriptors)
            return int(self._socket.recv(32))
        except (OSError, ValueError):
            # What it says later would be taken for the answer to another request.
            self.close()
            raise
        finally:
            self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def close(self) -> None:
        """End the server; processes that it has forked continue."""
        if not self.is_usable:
            return
        self._is_closed = True
        atexit.unregister(self.close)
        self._socket.close()
        try:
            self._wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            # Another process has its socket, such as one that a test forked.
            self._kill()
            self._wait(_END_SECONDS)


def _importing_server() -> _Server:
    """Start a server that has imported what commands need."""
    own, theirs = _socket_pair()
    # It is in the group of this process, so that its children are; what is sent to
    # the group must not end it before this process is done with it.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", forked_commands.__name__, str(theirs.fileno())],
                cwd=Path(__file__).parents[2],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
    return _Server(own, process.wait, process.kill)


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0)


class _Servers:
    """Those of a process: one that has imported, and some that have Django set up."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._lock = threading.Lock()
        self._importing: _Server | None = None
        # Of each key that was asked for, the last one last. None: there is none, since
        # it was asked for only once, or cannot be.
        self._set_up: dict[set_up_forks.Key, _Server | None] = {}
        self._unusable: set[set_up_forks.Key] = set()

    def fork(
        self,
        arguments: list[str],
        env: Mapping[str, str],
        cwd: Path,
        descriptors: tuple[int, ...],
    ) -> int:
        """Have a process forked; return its ID. It is a child of this process."""
        with self._lock:
            if self._importing is None or not self._importing.is_usable:
                self._importing = _importing_server()
            key = set_up_forks.key(arguments, env, cwd)
            server = self._importing
            if key is not None and key not in self._unusable:
                server = self._set_up_server(key, env, cwd) or server
            return server.fork(arguments, env, cwd, descriptors)

    def _set_up_server(
        self, key: set_up_forks.Key, env: Mapping[str, str], cwd: Path
    ) -> _Server | None:
        """Return the server for such commands, from the second one on."""
        is_first = key not in self._set_up
        server = self._set_up.pop(key, None)
        if not is_first and (server is None or not server.is_usable):
            server = self._make(env, cwd)
            if server is None:
                self._unusable.add(key)
        self._set_up[key] = server
        running = [key for key, each in self._set_up.items() if each is not None]
        for old in running[:-_MOST_SET_UP]:
            closing = self._set_up[old]
            assert closing is not None
            closing.close()
            self._set_up[old] = None
        return server

    def _make(self, env: Mapping[str, str], cwd: Path) -> _Server | None:
        """
        Have Django set up in a new server.

        None if that says anything: then each command is to say it itself.
        """
        assert self._importing is not None
        own, theirs = _socket_pair()
        with theirs, tempfile.TemporaryFile() as said:
            descriptors = (theirs.fileno(), said.fileno(), said.fileno())
            process = self._importing.fork(None, env, cwd, descriptors)
            theirs.close()
            server = _Server(
                own,
                partial(_wait_for, process),
                partial(os.kill, process, signal.SIGKILL),
            )
            try:
                is_ready = own.recv(32) == READY
            except OSError:
                is_ready = False
            if is_ready and not said.tell():
                return server
            server.close()
            return None


def _wait_for(process: int, seconds: float) -> None:
    descriptor = os.pidfd_open(process)
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            raise subprocess.TimeoutExpired(str(process), seconds)
    finally:
        os.close(descriptor)
    os.waitpid(process, 0)


_of_processes: list[_Servers] = []


def _servers() -> _Servers:
    """Return this process's: not those of one that it was forked from."""
    if not _of_processes or _of_processes[-1].owner != os.getpid():
        _of_processes.append(_Servers())
    return _of_processes[-1]
