"""Spans of batches and of saves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError, Tracking
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from django_esdb import get_application, signals
from django_esdb.contrib.opentelemetry import instrument, uninstrument
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from eventsourcing_eventstoredb.save_observers import are_observed
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.missing_packages import import_without
from tests.support.supervising import catch_up, running, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

MakeRegistration = Callable[..., Registration]
SECRET = "s3cret-w0rd"


class Spans:
    """
    What is traced.

    Attributes:
        provider: Makes it.
    """

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def of(self, name: str) -> list[ReadableSpan]:
        return [
            span for span in self._exporter.get_finished_spans() if span.name == name
        ]

    @property
    def batches(self) -> list[ReadableSpan]:
        return self.of("process TrainingSchoolProjection")

    def text(self) -> str:
        return "".join(span.to_json() for span in self._exporter.get_finished_spans())


@pytest.fixture
def spans() -> Iterator[Spans]:
    spans = Spans()
    instrument(spans.provider)
    yield spans
    uninstrument()


class Traced(TrainingSchoolProjection):
    """Traces what its handlers do, saves a puppy for a dog, and fails when told to."""

    name = "TrainingSchoolProjection"
    tracer: Any = None
    fails = False

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        with self.tracer.start_as_current_span("handler"):
            if getattr(domain_event, "trick", "") == "burn":
                raise RuntimeError(SECRET)
            if getattr(domain_event, "name", "") == "Fido":
                get_application(TrainingSchool).register("puppy")
            super().process_event(domain_event, tracking)


@pytest.fixture
def traced(
    registration: MakeRegistration, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> MakeRegistration:
    monkeypatch.setattr(Traced, "tracer", spans.provider.get_tracer("test"))

    def make(**options: Any) -> Registration:
        return registration(projection_class=Traced, **options)

    return make


def test_a_batch_has_a_span_that_handlers_are_within(
    school: TrainingSchool, traced: MakeRegistration, spans: Spans
) -> None:
    last = school.register("Rex")

    catch_up(traced())

    (batch,) = spans.batches
    (handler,) = spans.of("handler")
    assert batch.kind is SpanKind.CONSUMER
    assert batch.parent is None
    assert handler.parent is not None
    assert batch.context is not None
    assert handler.parent.span_id == batch.context.span_id
    assert batch.attributes is not None
    assert batch.attributes["django_esdb.application"] == "TrainingSchool"
    assert batch.attributes["django_esdb.events"] == 1
    assert batch.attributes["django_esdb.last_position"] == last
    assert batch.status.status_code is StatusCode.UNSET
    # The thread's own trace is what it was.
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_save_has_a_span_below_what_saves(
    school: TrainingSchool, traced: MakeRegistration, spans: Spans
) -> None:
    with spans.provider.get_tracer("test").start_as_current_span("request") as request:
        school.register("Fido")
    catch_up(traced())

    (first, second) = spans.of("save events")
    handler = spans.of("handler")[0]
    assert first.kind is SpanKind.CLIENT
    assert first.parent is not None
    assert first.parent.span_id == request.get_span_context().span_id
    assert second.parent is not None
    assert handler.context is not None
    assert second.parent.span_id == handler.context.span_id
    assert first.attributes is not None
    assert first.attributes["db.operation.batch.size"] == 1
    assert first.attributes["db.system.name"] == "eventstoredb"
    assert first.attributes["db.collection.name"]


def test_what_fails_is_an_error_without_its_text(
    school: TrainingSchool, traced: MakeRegistration, spans: Spans
) -> None:
    school.register("Rex")
    school.add_trick("Rex", "burn")

    catch_up(traced(on_failure=OnFailure.PARK, retries=0))

    failed = [each for each in spans.batches if not each.status.is_ok]
    assert failed
    for each in failed:
        assert each.attributes is not None
        assert each.attributes["error.type"] == "RuntimeError"
        assert each.events == ()
    # What was processed again alone has a span of its own.
    assert len(spans.batches) > len(failed)
    handlers = "".join(span.to_json() for span in spans.of("handler"))
    assert SECRET in handlers
    assert SECRET not in "".join(span.to_json() for span in spans.batches)


def test_a_save_that_is_refused_is_an_error(
    school: TrainingSchool, spans: Spans
) -> None:
    school.register("Fido")

    with pytest.raises(IntegrityError):
        school.register("Fido")

    first, second = spans.of("save events")
    assert first.status.is_ok
    assert second.status.status_code is StatusCode.ERROR
    assert second.attributes is not None
    assert second.attributes["error.type"] == "IntegrityError"


def test_a_position_that_is_passed_over_has_no_span(
    school: TrainingSchool, registration: MakeRegistration, spans: Spans
) -> None:
    class Other(TrainingSchoolProjection):
        topics = ("nothing",)

    moved: list[int] = []

    def note(*, position: int, **kwargs: Any) -> None:
        moved.append(position)

    signals.batch_committed.connect(note)
    school.register("Fido")
    try:
        with running(registration(projection_class=Other)):
            wait_until(lambda: moved)
    finally:
        signals.batch_committed.disconnect(note)

    assert spans.batches == []


def test_it_can_be_ended_and_is_done_once(
    school: TrainingSchool, school_projection: Registration, spans: Spans
) -> None:
    instrument(spans.provider)
    school.register("Fido")
    assert len(spans.of("save events")) == 1

    uninstrument()
    uninstrument()
    school.register("Rex")
    catch_up(school_projection)

    assert Dog.objects.count() == 2
    assert len(spans.of("save events")) == 1
    assert spans.batches == []
    assert not are_observed()
    assert not signals.batch_began.has_listeners(TrainingSchoolProjection)


def test_a_missing_extra_is_one_line() -> None:
    said = import_without("opentelemetry", "django_esdb.contrib.opentelemetry")

    assert said == (
        "django_esdb.exceptions.MissingExtraError: django_esdb.contrib.opentelemetry "
        "needs opentelemetry: install django-esdb[opentelemetry]"
    )
