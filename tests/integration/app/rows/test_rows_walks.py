"""Whatever handlers do, rows leave what the plain ORM leaves, in batches, too."""

from __future__ import annotations

import datetime
import logging
import sys
from collections.abc import Iterator
from decimal import InvalidOperation
from typing import Any
from unittest import mock

import pytest
from django.db import (
    IntegrityError,
    NotSupportedError,
    connection,
    models,
    transaction,
)
from django.utils import timezone
from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection
from hypothesis import HealthCheck, given, note, reject, settings
from hypothesis import strategies as st

from django_esdb.db import copied_rows
from django_esdb.models import ProjectionTracking
from django_esdb.policies import FailurePolicy, OnFailure
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.runner.batches.processor import BatchProcessor
from tests.support.made_events import APP, received
from tests.support.rows_app.models import Chip, Gauge, Keeper, Permit, Specimen
from tests.support.walks.doing import Doing, Plain
from tests.support.walks.steps import Event, events

pytestmark = pytest.mark.django_db(transaction=True)

MODELS: tuple[type[models.Model], ...] = (Chip, Permit, Specimen, Keeper, Gauge)
BEGINNING = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Clock:
    """The time of an event, which rows get that are made or changed in it."""

    now = BEGINNING

    def read(self) -> datetime.datetime:
        return self.now

    def at(self, number: int) -> None:
        self.now = BEGINNING + datetime.timedelta(seconds=number)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Events fail by the thousand, which need not be logged."""
    logging.getLogger("django_esdb").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("django_esdb").setLevel(logging.NOTSET)


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with mock.patch.object(timezone, "now", clock.read):
        yield clock


class View(DjangoTrackingRecorder):
    clock: Clock

    def do(self, event: Event, tracking: Tracking) -> None:
        self.clock.at(tracking.notification_id)
        with self.atomic(tracking):
            Doing(self.rows).do(event)


class Walking(Projection[View]):
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.do(domain_event, tracking)


class Skipping(FailurePolicy):
    """Leaves out what fails, and notes why."""

    def __init__(self) -> None:
        super().__init__(OnFailure.SKIP, 0)
        self.skipped: dict[int, BaseException] = {}

    def failed(self, position: int) -> OnFailure | None:
        error = sys.exc_info()[1]
        assert error is not None
        self.skipped[position] = error
        return super().failed(position)


def empty() -> None:
    for model in (*MODELS, ProjectionTracking):
        # Rows are not read: SQLite keeps numbers that Django cannot read.
        models.QuerySet(model)._raw_delete(connection.alias)


def contents() -> dict[str, list[str]]:
    """Return all rows; of keys that the database has chosen the order counts."""
    found = {}
    for model in MODELS:
        names = [f.attname for f in model._meta.concrete_fields]
        if model is Permit:
            names.remove("id")
        rows = model._default_manager.order_by("pk").values_list(*names)
        try:
            found[model.__name__] = [
                repr(tuple(bytes(v) if isinstance(v, memoryview) else v for v in row))
                for row in rows
            ]
        except InvalidOperation:
            # Both ways have stored it, and it cannot be compared.
            reject()
    return found


def with_plain_orm(walk: list[Event], clock: Clock) -> tuple[Any, dict[int, Exception]]:
    """Process event by event; return what is there, and why events failed."""
    empty()
    failed: dict[int, Exception] = {}
    for number, steps in enumerate(walk, start=1):
        clock.at(number)
        plain = Plain()
        doing = Doing(plain.rows, plain.save, plain.rolled_back, plain.watched)
        try:
            with transaction.atomic():
                doing.do(steps)
                plain.save()
                if transaction.get_rollback():
                    raise transaction.TransactionManagementError
        except Exception as error:
            note(f"plain {number}: {type(error).__name__}: {error}")
            failed[number] = error
    return contents(), failed


def with_rows(
    walk: list[Event], sizes: list[int], clock: Clock
) -> tuple[Any, dict[int, BaseException]]:
    """Process in batches; return what is there, and why events failed."""
    empty()
    view = View("projection")
    view.clock = clock
    policy = Skipping()
    processor = BatchProcessor(Walking(view), view, APP, policy=policy)
    walked = received(walk)
    start = 0
    for size in [*sizes, len(walk)]:
        if walked[start : start + size]:
            processor.process(walked[start : start + size])
        start += size
    for number, error in policy.skipped.items():
        note(f"rows {number}: {type(error).__name__}: {error}")
    return contents(), policy.skipped


@pytest.fixture(params=["inserted", "copied"])
def copied(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have even single rows written as those of large batches are."""
    if request.param == "copied":
        if connection.vendor != "postgresql":
            pytest.skip("only PostgreSQL copies rows")
        monkeypatch.setattr(copied_rows, "FEWEST_ROWS", 1)


def undoes_something(steps: Event) -> bool:
    return any(step[0] == "savepoint" and step[-1] for step in steps)


@given(walk=events, sizes=st.lists(st.integers(1, 6), max_size=4))
@settings(
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
def test_rows_leave_what_the_plain_orm_leaves(
    walk: list[Event], sizes: list[int], clock: Clock, copied: None
) -> None:
    singly, failed = with_rows(walk, [1] * len(walk), clock)
    batched, failed_in_batches = with_rows(walk, sizes, clock)
    assert failed_in_batches.keys() == failed.keys()
    assert batched == singly

    refused = {n for n, e in failed.items() if isinstance(e, NotSupportedError)}
    allowed = [
        [] if number in refused else steps for number, steps in enumerate(walk, start=1)
    ]
    plain, failed_plainly = with_plain_orm(allowed, clock)
    for number, error in failed_plainly.items():
        if number in failed:
            continue
        if isinstance(error, IntegrityError) or undoes_something(allowed[number - 1]):
            # Two rows had a value for a moment, and one of them in the end; or what
            # the database would have refused was undone before it was asked.
            reject()
    assert failed_plainly.keys() == failed.keys() - refused
    assert singly == plain
