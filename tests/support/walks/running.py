"""Walks of random events: with the plain ORM, and with rows in batches of any size."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import InvalidOperation
from typing import Any

from django.db import (
    DatabaseError,
    IntegrityError,
    NotSupportedError,
    connection,
    models,
    transaction,
)
from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection
from hypothesis import note, reject

from django_esdb.models import ProjectionTracking
from django_esdb.policies import FailurePolicy, OnFailure
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.runner.batches.processor import BatchProcessor
from tests.support.made_events import APP, received
from tests.support.walks.doing import Doing, Plain
from tests.support.walks.steps import Event

BEGINNING = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Clock:
    """The time of an event, which rows get that are made or changed in it."""

    now = BEGINNING

    def read(self) -> datetime.datetime:
        return self.now

    def at(self, number: int) -> None:
        self.now = BEGINNING + datetime.timedelta(seconds=number)


class View(DjangoTrackingRecorder):
    walks: Walks

    def do(self, event: Event, tracking: Tracking) -> None:
        self.walks.clock.at(tracking.notification_id)
        with self.atomic(tracking):
            self.walks.doing(self.rows, **self.walks.options).do(event)


class Walking(Projection[View]):
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.do(domain_event, tracking)


class Skipping(FailurePolicy):
    """Leaves out what fails, and notes why."""

    def __init__(self) -> None:
        super().__init__(OnFailure.SKIP, 0)
        self.left_out: dict[int, BaseException] = {}

    def failed(self, position: int) -> OnFailure | None:
        error = sys.exc_info()[1]
        assert error is not None
        self.left_out[position] = error
        return super().failed(position)


@dataclass
class Walks:
    """
    A kind of walks, and the clock of one.

    Args:
        models: Whose rows are compared.
        clock: The events' time.
        doing: What does an event's steps.
        plain: The plain way of the same.
        unnumbered: Models of whose keys only the order counts, as the database chooses
            them.
        options: Further arguments of ``doing``.
        called: What was called after commits: with what, in words, and with which
            values.
    """

    models: Sequence[type[models.Model]]
    clock: Clock
    doing: Callable[..., Doing] = Doing
    plain: Callable[[], Plain] = Plain
    unnumbered: Collection[type[models.Model]] = ()
    options: dict[str, Any] = field(default_factory=dict)
    called: list[tuple[Any, ...]] = field(default_factory=list)

    def contents(self) -> dict[str, list[str]]:
        """Return all rows."""
        found = {}
        for model in self.models:
            names = [f.attname for f in model._meta.concrete_fields]
            if model in self.unnumbered:
                names.remove("id")
            rows = models.QuerySet(model).order_by("pk").values_list(*names)
            try:
                found[model.__name__] = [
                    repr(
                        tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)
                    )
                    for row in rows
                ]
            except InvalidOperation:
                # Both ways have stored it, and it cannot be compared.
                reject()
        return found

    def with_plain_orm(
        self, walk: Sequence[Event]
    ) -> tuple[Any, dict[int, Exception], set[int]]:
        """
        Process event by event.

        Returns:
            What is there, why events failed, and which have caught an error.
        """
        self.called.clear()
        empty((*self.models, ProjectionTracking))
        failed: dict[int, Exception] = {}
        caught: set[int] = set()
        for number, steps in enumerate(copied(walk), start=1):
            self.clock.at(number)
            plain = self.plain()
            doing = self.doing(
                plain.rows, plain.save, plain.rolled_back, plain.watched, **self.options
            )
            try:
                with transaction.atomic():
                    doing.do(steps)
                    plain.save()
                    if transaction.get_rollback():
                        raise transaction.TransactionManagementError
            except Exception as error:
                note(f"plain {number}: {type(error).__name__}: {error}")
                failed[number] = error
            if doing.has_caught:
                caught.add(number)
        return self.contents(), failed, caught

    def with_rows(
        self, walk: Sequence[Event], sizes: Sequence[int]
    ) -> tuple[Any, dict[int, BaseException]]:
        """Process in batches; return what is there, and why events failed."""
        self.called.clear()
        empty((*self.models, ProjectionTracking))
        view = View("projection")
        view.walks = self
        policy = Skipping()
        processor = BatchProcessor(Walking(view), view, APP, policy=policy)
        walked = received(copied(walk))
        start = 0
        for size in [*sizes, len(walk)]:
            if walked[start : start + size]:
                processor.process(walked[start : start + size])
            start += size
        for number, error in policy.left_out.items():
            note(f"rows {number}: {type(error).__name__}: {error}")
        return self.contents(), policy.left_out

    def compare(self, walk: Sequence[Event], sizes: Sequence[int]) -> None:
        """Walk each way, which has to lead to the same."""
        singly, failed = self.with_rows(walk, [1] * len(walk))
        called = list(self.called)
        batched, failed_in_batches = self.with_rows(walk, sizes)
        assert failed_in_batches.keys() == failed.keys()
        assert batched == singly
        assert self.called == called

        refused = {n for n, e in failed.items() if isinstance(e, NotSupportedError)}
        allowed = [
            [] if number in refused else steps
            for number, steps in enumerate(walk, start=1)
        ]
        plain, failed_plainly, caught = self.with_plain_orm(allowed)
        for number, error in failed_plainly.items():
            if number in failed:
                continue
            if isinstance(error, IntegrityError) or undoes_something(
                allowed[number - 1]
            ):
                # Two rows had a value for a moment, and one of them in the end; or what
                # the database would have refused was undone before it was asked.
                reject()
        for number in failed.keys() & caught - failed_plainly.keys():
            if not isinstance(failed[number], DatabaseError):
                # The handler has failed by itself before the database was asked.
                reject()
        for number in failed.keys() - failed_plainly.keys() - refused:
            is_told_at_once = not isinstance(failed[number], DatabaseError)
            if is_told_at_once and undoes_something(allowed[number - 1]):
                # A new row with a known key is refused for its values when it is
                # added, and otherwise when it is saved, which was undone.
                reject()
        assert failed_plainly.keys() == failed.keys() - refused
        assert singly == plain
        # An instance keeps what it was assigned, whatever the database makes of it.
        assert [each[:2] for each in called] == [each[:2] for each in self.called]


def copied(values: Any) -> Any:
    """Return steps with values of their own, since handlers change some in place."""
    if isinstance(values, dict):
        return {key: copied(value) for key, value in values.items()}
    if type(values) in (list, tuple):
        return type(values)(map(copied, values))
    return values


def empty(walked: Iterable[type[models.Model]]) -> None:
    """Delete all rows of models, in an order that references allow."""
    for model in walked:
        own = [f.name for f in model._meta.fields if f.related_model is model]
        if own:
            # Some databases look at each row that is deleted.
            models.QuerySet(model).update(**dict.fromkeys(own))
        # Rows are not read: SQLite keeps numbers that Django cannot read.
        models.QuerySet(model)._raw_delete(connection.alias)


def undoes_something(steps: Event) -> bool:
    return any(step[0] == "savepoint" and step[-1] for step in steps)
