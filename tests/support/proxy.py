"""A TCP proxy that cuts connections, also between a request and its answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

from tests.support.running_stores import uri_at


class Proxy:
    """
    Forwards connections on a free port to an event store.

    Args:
        store: The store; a single node.

    Attributes:
        port: The port it listens on.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self._target = (store.host, store.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._holds_answers = False
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def uri(self) -> str:
        """The store's connection string, with the proxy's address."""
        return uri_at(self._store, f"127.0.0.1:{self.port}")

    def __enter__(self) -> Proxy:
        self._threads[0].start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def hold_answers(self) -> None:
        """Swallow what the servers sends from now on, until connections are cut."""
        self._holds_answers = True

    def cut(self) -> None:
        """Break off all connections; new ones work."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
            self._holds_answers = False
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            for source, sink, is_answer in (
                (client, server, False),
                (server, client, True),
            ):
                thread = threading.Thread(
                    target=self._forward, args=(source, sink, is_answer)
                )
                self._threads.append(thread)
                thread.start()

    def _forward(
        self, source: socket.socket, sink: socket.socket, is_answer: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not (is_answer and self._holds_answers):
                    sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()
