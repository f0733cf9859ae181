"""Metrics over HTTP, for a process that is no web server."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.db import connections
from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app

from django_esdb.contrib.prometheus.collector import ProjectionCollector
from django_esdb.contrib.prometheus.metrics import ProjectionMetrics
from django_esdb.registry import Registration

logger = logging.getLogger("django_esdb.metrics")


class MetricsServer:
    """
    Serves the metrics of this process, and what the database says of projections.

    It listens and counts as soon as it is made, and answers in threads of its own.
    What is in the registry already stays there, and is served with the rest.

    Args:
        registrations: The projections that the process runs.
        host: Address to listen on; by default only this machine's programs reach it.
        port: 0 for any that is free.
        registry: Whose metrics are served.

    Attributes:
        port: The one that it listens on.

    Raises:
        OSError: It cannot listen there.
    """

    def __init__(
        self,
        registrations: Iterable[Registration],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._registry = registry
        self._server = _listen(host, port, registry)
        self.port = self._server.server_port
        self._metrics: ProjectionMetrics | None = None
        self._collector: ProjectionCollector | None = None
        # The project may have done either already.
        with suppress(ValueError):
            self._metrics = ProjectionMetrics(registry)
            self._metrics.connect(registrations)
        with suppress(ValueError):
            collector = ProjectionCollector()
            registry.register(collector)
            self._collector = collector
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Listen and count no more; waits half a second at most."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self._metrics is not None:
            self._metrics.close()
        if self._collector is not None:
            self._registry.unregister(self._collector)


class _Handler(WSGIRequestHandler):
    # Who asks and says nothing is not waited for.
    timeout = 10.0

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log no requests."""


def _listen(host: str, port: int, registry: CollectorRegistry) -> WSGIServer:
    answer = make_wsgi_app(registry)

    def app(environ: Any, start_response: Any) -> Any:
        try:
            return answer(environ, start_response)
        finally:
            # This thread ends, and no request of Django's does.
            connections.close_all()

    (family, *_), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    class Server(ThreadingMixIn, WSGIServer):
        address_family = family
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            # The client is gone, and waits for no answer.
            logger.debug("Metrics were not sent: client=%s", client_address)

    return make_server(host, port, app, Server, _Handler)
