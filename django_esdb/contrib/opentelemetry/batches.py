"""Spans of batches: receivers of the signals that a batch begins and ends with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Token
from typing import Any

from django.dispatch import Signal
from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from django_esdb import signals


class BatchSpans:
    """
    Makes a span of each transaction that events are processed in.

    A batch that fails has one with an error, and each of its parts that is processed
    after that has one of its own. The attributes tell which projection and how many
    events, and the error's class alone: its text may say what events say.

    Args:
        tracer: Makes the spans.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        # A thread has one batch at a time.
        self._current = threading.local()
        self._receivers: list[tuple[Signal, Callable[..., None]]] = [
            (signals.batch_began, self._on_began),
            (signals.batch_committed, self._on_committed),
            (signals.batch_undone, self._on_undone),
        ]

    def connect(self) -> None:
        """Make spans from now on."""
        for signal, receiver in self._receivers:
            signal.connect(receiver, weak=False)

    def disconnect(self) -> None:
        """Make none any more."""
        for signal, receiver in self._receivers:
            signal.disconnect(receiver)

    def _on_began(
        self,
        *,
        projection: str,
        application: str,
        position: int,
        reason: str,
        **kwargs: Any,
    ) -> None:
        span = self._tracer.start_span(
            f"process {projection}",
            kind=SpanKind.CONSUMER,
            attributes={
                "django_esdb.projection": projection,
                "django_esdb.application": application,
                "django_esdb.first_position": position,
                "django_esdb.batch_reason": str(reason),
            },
        )
        self._current.begun = span, context.attach(trace.set_span_in_context(span))

    def _on_committed(
        self,
        *,
        position: int,
        events: int,
        handler_seconds: float,
        commit_seconds: float,
        **kwargs: Any,
    ) -> None:
        if (span := self._left()) is not None:
            span.set_attributes(
                {
                    "django_esdb.last_position": position,
                    "django_esdb.events": events,
                    "django_esdb.handler_seconds": handler_seconds,
                    "django_esdb.commit_seconds": commit_seconds,
                }
            )
            span.end()

    def _on_undone(self, *, events: int, error: BaseException, **kwargs: Any) -> None:
        if (span := self._left()) is not None:
            span.set_attributes(
                {
                    "django_esdb.events": events,
                    "error.type": type(error).__qualname__,
                }
            )
            span.set_status(Status(StatusCode.ERROR))
            span.end()

    def _left(self) -> Span | None:
        """Return this thread's span, which is not its current one any more."""
        begun: tuple[Span, Token[Any]] | None = getattr(self._current, "begun", None)
        if begun is None:
            # A position that is passed over, or a batch from before all this.
            return None
        self._current.begun = None
        span, token = begun
        context.detach(token)
        return span
