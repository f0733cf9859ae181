"""Spans of saves: an observer of what is appended."""

from __future__ import annotations

from opentelemetry import context, trace
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from eventsourcing_eventstoredb.save_observers import Ended, Save


class SaveSpans:
    """
    Makes a span of each save, a child of what is traced around it.

    Its attributes are those of OpenTelemetry's conventions for databases, with the
    stream as the collection; of an error they have the class.

    Args:
        tracer: Makes the spans.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def __call__(self, save: Save) -> Ended:
        """Begin a span, and return what ends it."""
        span = self._tracer.start_span(
            "save snapshot" if save.is_snapshot else "save events",
            kind=SpanKind.CLIENT,
            attributes={
                "db.system.name": "eventstoredb",
                "db.operation.name": "append",
                "db.collection.name": save.stream,
                "db.operation.batch.size": save.events,
            },
        )
        token = context.attach(trace.set_span_in_context(span))

        def ended(error: BaseException | None) -> None:
            context.detach(token)
            if error is not None:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(Status(StatusCode.ERROR))
            span.end()

        return ended
