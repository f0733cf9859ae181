"""However events are cut into batches, the rows are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from django.db import connection, models
from django.db.models import F
from django.test.utils import isolate_apps
from eventsourcing.persistence import Notification, Tracking
from eventsourcing.projection import Projection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_esdb.exceptions import EventProcessingError
from django_esdb.models import ProjectionTracking
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.runner.batches.processor import BatchProcessor
from django_esdb.subscriptions.received import ReceivedEvent
from tests.support.made_events import made_tables, processed
from tests.support.rows_app.models import Animal, Counter, Owner, Visit
from tests.support.walks.running import empty

pytestmark = pytest.mark.django_db(transaction=True)

APP = "App"

Operation = tuple[str, int, int]


def animal_id(number: int) -> UUID:
    return uuid5(NAMESPACE_URL, str(number))


class View(DjangoTrackingRecorder):
    """Does with rows what an operation says; any of it may fail."""

    def do(self, operation: Operation, tracking: Tracking) -> None:
        kind, first, second = operation
        with self.atomic(tracking):
            getattr(self, kind)(first, second)

    def add(self, first: int, second: int) -> None:
        self.rows(Animal).add(Animal(pk=animal_id(first), name=f"name {second}"))

    def get_or_create(self, first: int, second: int) -> None:
        row, _ = self.rows(Animal, key="name").get_or_create(
            f"name {second}", {"id": animal_id(first)}
        )
        row.tricks.append("found")

    def trick(self, first: int, second: int) -> None:
        row = self.rows(Animal).get_or_none(animal_id(first))
        if row is not None:
            row.tricks.append(f"trick {second}")

    def rename(self, first: int, second: int) -> None:
        row = self.rows(Animal).get_or_none(animal_id(first))
        if row is not None:
            row.name = f"name {second}"

    def own(self, first: int, second: int) -> None:
        owner, _ = self.rows(Owner).get_or_create(f"owner {second}")
        row = self.rows(Animal).get_or_none(animal_id(first))
        if row is not None:
            row.owner_id = owner.pk

    def visit(self, first: int, second: int) -> None:
        if self.rows(Animal).get_or_none(animal_id(first)) is not None:
            self.rows(Visit).add(Visit(animal_id=animal_id(first), number=second))

    def delete(self, first: int, second: int) -> None:
        self.rows(Animal).delete(animal_id(first))

    def delete_by_name(self, first: int, second: int) -> None:
        self.rows(Animal, key="name").delete(f"name {second}")

    def delete_owner(self, first: int, second: int) -> None:
        self.rows(Owner).delete(f"owner {second}")

    def count(self, first: int, second: int) -> None:
        self.rows(Counter).increment(f"counter {first}", count=1, total=second)

    def count_by_hand(self, first: int, second: int) -> None:
        row, _ = self.rows(Counter).get_or_create(f"counter {first}")
        row.count += second

    def plain_count(self, first: int, second: int) -> None:
        Counter.objects.filter(name=f"counter {first}").update(total=F("total") * 2 + 1)

    def plain_read(self, first: int, second: int) -> None:
        number = Animal.objects.filter(name=f"name {second}").count()
        self.rows(Counter).increment("seen", total=number)

    def plain_delete(self, first: int, second: int) -> None:
        Animal.objects.filter(name=f"name {second}").delete()


class Doing(Projection[View]):
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.do(domain_event, tracking)


KINDS = sorted(set(vars(View)) - {"do"} - {n for n in vars(View) if n.startswith("_")})

operations = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 3), st.integers(0, 3)),
    min_size=1,
    max_size=25,
)


def outcome(operations: Sequence[Operation], cuts: set[int]) -> dict[str, Any]:
    """Process from nothing, with batches that end at the cuts; return what is there."""
    empty((Visit, Animal, Owner, Counter, ProjectionTracking))
    view = View("projection")
    processor = BatchProcessor(Doing(view), view, APP)
    error = ""
    batch: list[ReceivedEvent] = []
    for number, operation in enumerate(operations, start=1):
        notification = Notification(
            animal_id(operation[1]), number, "topic", b"", number
        )
        batch.append(
            ReceivedEvent(Tracking(APP, number), notification, operation, None)
        )
        if number in cuts or number == len(operations):
            try:
                processor.process(batch)
            except EventProcessingError as raised:
                # Where it stopped; how the database puts it may differ.
                error = str(raised).partition("version ")[2].partition(":")[0]
                break
            batch = []
    return {
        "error": error,
        "position": view.max_tracking_id(APP),
        "animals": sorted(
            Animal.objects.values_list("id", "name", "owner_id", "tricks")
        ),
        "owners": sorted(Owner.objects.values_list("name", flat=True)),
        "counters": sorted(Counter.objects.values_list("name", "count", "total")),
        "visits": sorted(Visit.objects.values_list("animal_id", "number")),
    }


@pytest.mark.slow("tries many ways to cut many events into batches")
@given(operations=operations, cuts=st.sets(st.integers(1, 25), max_size=6))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_batches_leave_the_rows_that_single_events_leave(
    operations: list[Operation], cuts: set[int]
) -> None:
    singly = outcome(operations, set(range(1, len(operations) + 1)))

    assert outcome(operations, cuts) == singly
    assert outcome(operations, set()) == singly


@pytest.mark.skipif(connection.vendor != "mysql", reason="has no such limit")
def test_long_texts_fit_into_statements_however_many_there_are() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Essay(models.Model):
            id = models.IntegerField(primary_key=True)
            text = models.TextField()

            class Meta:
                app_label = "rows_app"

        class Letter(models.Model):
            text = models.TextField()

            class Meta:
                app_label = "rows_app"

    # The server takes 16 MiB at once, unless it is told to take more.
    length, numbers = 2_000_000, range(1, 10)

    def add(rows: Any) -> None:
        for number in numbers:
            rows(Essay).add(Essay(id=number, text="a" * length))
            rows(Letter).add(Letter(text="a" * length))

    def change(rows: Any) -> None:
        for row in rows(Essay).filter(pk__in=numbers):
            row.text = "b" * length

    with made_tables(Essay, Letter):
        assert processed([add, change]) == {}
        essays = Essay.objects.filter(text__startswith="b")
        assert (essays.count(), Letter.objects.count()) == (9, 9)
