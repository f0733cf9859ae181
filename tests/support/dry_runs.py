"""Projections that do what a test wants, and dry runs of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import connection
from eventsourcing.persistence import Tracking

from django_esdb.debugging.dry_run import DryRun, EventRun
from django_esdb.debugging.events import Choice
from django_esdb.registry import Registration
from example_project.training_school.domain import Dog as DogAggregate
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import TrainingSchoolView

Act = Callable[[Any, Tracking], object]

Tried = Callable[[Act], EventRun]


class ActingView(TrainingSchoolView):
    """Does what a test wants."""

    read_models = (Dog, SchoolCounts)
    act: Act

    def add_trick(self, dog_id: UUID, trick: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            ActingView.act(self, tracking)


def dog_id(name: str = "Fido") -> str:
    return str(DogAggregate.create_id(name))


def runs(
    registration: Registration,
    aggregate: str = "",
    start: int | None = None,
    only: int | None = None,
    **options: Any,
) -> list[EventRun]:
    choice = Choice(aggregate or ("" if only else dog_id()), start, only)
    return list(DryRun(registration, choice, **options).run())


def changed(run: EventRun) -> list[tuple[str, Any, Any, Any]]:
    assert run.error == ""
    return [(each.model, each.pk, each.before, each.after) for each in run.changes]


def values(run: EventRun, model: str, name: str, field: str) -> set[tuple[Any, ...]]:
    """Return for each row of a model that is changed a field before and after."""
    found = set()
    for label, _, before, after in changed(run):
        if label == model:
            said = [row and _hashable(row[field]) for row in (before, after)]
            found.add(((before or after)[name], *said))
    return found


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, list) else value


def execute(*statements: str) -> Act:
    def act(view: Any, tracking: Tracking) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    return act
