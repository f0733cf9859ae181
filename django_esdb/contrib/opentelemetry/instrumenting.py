"""Whether this process is traced."""

from __future__ import annotations

import threading
from collections.abc import Callable

from opentelemetry import trace

from django_esdb.contrib.opentelemetry.batches import BatchSpans
from django_esdb.contrib.opentelemetry.saves import SaveSpans
from eventsourcing_eventstoredb.save_observers import observe_saves

_SCOPE = "django_esdb"

_lock = threading.Lock()
_endings: list[Callable[[], None]] = []


def instrument(tracer_provider: trace.TracerProvider | None = None) -> None:
    """
    Make a span of each batch and of each save from now on.

    Does nothing if that is so already. Handlers run within the batch's span, so that
    what other instrumentation traces there, such as the database's, is its child.

    Args:
        tracer_provider: Who makes them; None for the global one.
    """
    with _lock:
        if _endings:
            return
        tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        batches = BatchSpans(tracer)
        batches.connect()
        _endings.extend((batches.disconnect, observe_saves(SaveSpans(tracer))))


def uninstrument() -> None:
    """Make no more spans; those of batches that are under way are not ended."""
    with _lock:
        while _endings:
            _endings.pop()()
