"""Running a worker until code changes, for development."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.utils import autoreload

from django_esdb.runner.worker import Worker


class Reloader:
    """
    Shuts a worker down cleanly before Django replaces the process.

    Args:
        seconds: How long that may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._worker: Worker | None = None
        self._lock = threading.Lock()

    def run(self, command: Callable[[], None]) -> None:
        """Run what makes a worker, and again whenever code changes; blocks."""
        try:
            autoreload.run_with_reloader(command)
        finally:
            self.stop()

    def follow(self, worker: Worker) -> None:
        """Stop this worker when code changes."""
        with self._lock:
            self._worker = worker
        autoreload.file_changed.connect(self._on_file_changed)

    def stop(self) -> None:
        """Stop the worker and wait for its end, at most the seconds given."""
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()
            worker.join(self._seconds)

    def _on_file_changed(self, **kwargs: Any) -> None:
        self.stop()
