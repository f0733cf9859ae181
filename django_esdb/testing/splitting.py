"""The same events, split into batches in each way, have to leave the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from django.db import transaction

from django_esdb.exceptions import EventError
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration
from django_esdb.testing.event_texts import event_lines
from django_esdb.testing.projecting import Projected
from django_esdb.testing.rows import Expected, Tables, table_differences

ONE_BY_ONE = "one by one"
# Of more events not each size is tried.
_ALL_SIZES = 8


class Splitting:
    """
    Runs a projection on events again and again, and undoes it each time.

    Args:
        registration: The projection.
        before: Events that have happened.
        events: Those that happen now.

    Raises:
        TypeError: Its view is not in Django models.
    """

    def __init__(
        self, registration: Registration, before: Sequence[Any], events: Sequence[Any]
    ) -> None:
        view_class = registration.view_class
        if not issubclass(view_class, DjangoTrackingRecorder):
            msg = (
                f"{view_class.__name__} is not in Django models, so it has no rows "
                "that could be expected: use project()"
            )
            raise TypeError(msg)
        self._registration = registration
        self._view_class = view_class
        self._before = len(before)
        self._events = [*before, *events]
        self._is_wanted: list[bool] = []

    def expect(self, rows: Sequence[Any]) -> None:
        """
        Assert that the events leave some rows, however they are split.

        Raises:
            AssertionError: They leave others, or not always the same.
            EventError: They fail, however they are split.
        """
        models = self._view_class.read_models
        expected = Expected(rows or [{model: [] for model in models}])
        outcomes = {
            way: self._run(sizes, {**dict.fromkeys(models), **expected.rows})
            for way, sizes in self._ways()
        }
        tables = {w: o for w, o in outcomes.items() if isinstance(o, Tables)}
        errors = {w: o for w, o in outcomes.items() if isinstance(o, EventError)}
        for way, error in errors.items():
            if not tables:
                raise error
            fine = next(iter(tables))
            self._fail(f"Processed {way} it fails, {fine} it does not", [error])
        first = tables[ONE_BY_ONE]
        if lines := expected.differences(first):
            self._fail("The rows are not those that were expected", lines)
        for way, other in tables.items():
            lines = table_differences(
                first.comparable(), other.comparable(), ONE_BY_ONE, way
            )
            if lines:
                self._fail(f"Processed {way} other rows are left", lines)

    def errors(self) -> Iterator[tuple[str, BaseException | None]]:
        """Yield for each way what a handler has raised, None for nothing."""
        for way, sizes in self._ways():
            outcome = self._run(sizes, {})
            if isinstance(outcome, EventError):
                cause = outcome.__cause__
                yield way, outcome if cause is None else cause
            else:
                yield way, None

    def _ways(self) -> Iterator[tuple[str, list[int]]]:
        count = len(self._events)
        yield ONE_BY_ONE, [1] * count
        between = range(2, count) if count <= _ALL_SIZES else (2, 3, 7, count // 2)
        for size in between:
            yield f"in batches of {size}", [size] * (count // size + 1)
        if count > 1:
            yield "in one batch", [count]
        if 0 < self._before < count:
            yield (
                f"in batches of {self._before} and {count - self._before}",
                [self._before, count - self._before],
            )

    def _run(self, sizes: list[int], models: Any) -> Tables | EventError:
        """Process the events in batches of these sizes, and undo it."""
        alias = self._view_class.database()
        with transaction.atomic(using=alias):
            try:
                projected = Projected(self._registration)
                received = projected.received(self._events)
                self._is_wanted = [projected.is_wanted(each) for each in received]
                for size in sizes:
                    batch, received = received[:size], received[size:]
                    projected.process(batch)
                return Tables.read(models, alias)
            except EventError as error:
                return error
            finally:
                transaction.set_rollback(True, using=alias)

    def _fail(self, what: str, lines: Sequence[object]) -> NoReturn:
        text = "\n  ".join([f"{what}:", *map(str, lines)])
        events = event_lines(self._events, self._before, self._is_wanted)
        raise AssertionError("\n  ".join([f"{text}\nEvents:", *events]))
