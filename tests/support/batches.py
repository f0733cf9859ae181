"""Batches of events on rows, without a projection that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.test.utils import CaptureQueriesContext
from eventsourcing.persistence import Tracking

from django_esdb.recorders import DjangoTrackingRecorder

APP = "App"


def changes(statements: CaptureQueriesContext) -> list[str]:
    """Return the statements about rows: no transactions' own, and none for schemas."""
    return [
        q["sql"]
        for q in statements.captured_queries
        if not q["sql"].startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"))
        and "projectiontracking" not in q["sql"]
        and "trigger" not in q["sql"]
        and "sqlite_master" not in q["sql"]
        and "pragma_" not in q["sql"]
        and "pg_constraint" not in q["sql"]
        and "information_schema" not in q["sql"]
    ]


class Runner:
    """Gives a view events as a runner's batch does."""

    def __init__(self) -> None:
        self.view = DjangoTrackingRecorder("projection")
        self.view.ensure_row(APP)
        self.position: int | None = None

    @contextmanager
    def batch(self, size: int, keys: list[Any] | None = None) -> Iterator[Any]:
        """Yield a context manager for each event of a batch of this size."""
        start = self.position or 0
        with self.view.batch(
            APP, self.position, start + size, lambda model: keys or []
        ) as batch:
            numbers = iter(range(start + 1, start + size + 1))

            def event() -> Any:
                tracking = Tracking(APP, next(numbers))
                batch.begin(tracking)
                return self.view.atomic(tracking)

            yield event
        self.position = start + size
