"""
A process that forks the processes of clusters, so that each begins at once.

What they need is imported once. It uses no gRPC itself, since that does not survive
forks. All end with it, and it ends when what started it does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.cluster.node import Node
from tests.support.suspending import suspend


class _Forking:
    """Starts, signals and ends processes."""

    def __init__(self, kinds: dict[str, Callable[..., tuple[str, Any]]]) -> None:
        self._kinds = kinds
        self._children: set[int] = set()
        # Nothing is ever written; it is closed by the end of this process.
        self._life = os.pipe()

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        if "start" in command:
            return self._start(command["start"], command["arguments"])
        return self._send(command["pid"], command["signal"])

    def kill_all(self) -> None:
        for pid in list(self._children):
            self._send(pid, signal.SIGKILL)

    def _send(self, pid: int, number: int) -> dict[str, Any]:
        # What was reaped has an ID that may be another process's.
        if pid not in self._children:
            return {}
        if number == signal.SIGSTOP:
            suspend(pid)
        else:
            os.kill(pid, number)
            if number in (signal.SIGKILL, signal.SIGTERM):
                os.waitpid(pid, 0)
                self._children.discard(pid)
        return {}

    def _start(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        heard, said = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(heard)
            self._be_child(kind, arguments, said)
        os.close(said)
        with os.fdopen(heard) as answer:
            answered: dict[str, Any] = json.loads(answer.read() or '{"error": ""}')
        self._children.add(pid)
        if "error" in answered:
            self._send(pid, signal.SIGKILL)
        return {"pid": pid, **answered}

    def _be_child(self, kind: str, arguments: dict[str, Any], answer: int) -> None:
        try:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            os.close(self._life[1])
            # Threads that are made from now on must not get it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            threading.Thread(target=self._end_with_parent, daemon=True).start()
            try:
                said, server = self._kinds[kind](**arguments)
            except Exception as error:
                os.write(answer, json.dumps({"error": str(error)}).encode())
                os._exit(1)
            os.write(answer, json.dumps({"said": said}).encode())
            os.close(answer)
            signal.sigwait({signal.SIGTERM})
            server.stop()
        finally:
            os._exit(0)

    def _end_with_parent(self) -> None:
        os.read(self._life[0], 1)
        os._exit(1)


def main() -> None:
    """Fork what is asked for, until no process can ask any more."""

    def store(data: str) -> tuple[str, Any]:
        server = EmbeddedServer(data=data).start()
        return server.target, server

    def node(control: str, data: str, port: int, **others: Any) -> tuple[str, Any]:
        server = Node(control=Path(control), data=Path(data), port=port, **others)
        return f"127.0.0.1:{port}", server

    # It is ended by the process that started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    forking = _Forking({"store": store, "node": node})
    try:
        for line in sys.stdin:
            answer = forking.answer(json.loads(line))
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        forking.kill_all()


if __name__ == "__main__":
    main()
