"""What the database looks at when it commits is looked at when each event ends."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.test.utils import CaptureQueriesContext, isolate_apps

from django_esdb.db.vendors import checks_references_late
from tests.support.batches import Runner, changes
from tests.support.made_events import made_tables, outcomes
from tests.support.rows_app.models import Keeper, Owner, Permit, Region, Site, Specimen

pytestmark = pytest.mark.django_db(transaction=True)


def add_owner(rows: Any) -> None:
    rows(Owner).add(Owner(name="later"))


def insert(table: str) -> Any:
    def event(rows: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {table} (name, owner_id) VALUES ('', 'later')")

    return event


@pytest.mark.parametrize("way", ["plain ORM", "quoted"])
def test_a_reference_by_other_statements_is_looked_at(way: str) -> None:
    def add(rows: Any) -> None:
        Site.objects.create(owner_id="later")

    quoted = connection.ops.quote_name("rows-app sites")
    events = [add if way == "plain ORM" else insert(quoted), add_owner]
    found, failed = outcomes(Site, [*events, lambda rows: Owner.objects.all().delete()])

    assert not found
    assert failed == {1}


def test_a_reference_by_a_statement_without_quotes_is_looked_at() -> None:
    def add(rows: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "insert into rows_app_permit (keeper_id, number) values ('later', 1)"
            )

    events = [add, lambda rows: Permit.objects.all().delete()]
    found, failed = outcomes(Permit, events)

    assert not found
    assert failed == {1}


@pytest.mark.parametrize("later", ["deleted", "changed", "target added"])
def test_a_reference_of_a_row_whose_key_the_database_chooses_is_looked_at(
    later: str,
) -> None:
    absent = UUID(int=1)

    def begin() -> None:
        Specimen.objects.all().delete()
        Keeper.objects.get_or_create(name="Ann")

    def add(rows: Any) -> None:
        rows(Permit).add(Permit(keeper_id="Ann", number=1, specimen_id=absent))

    def change(rows: Any) -> None:
        if later == "target added":
            rows(Specimen).add(Specimen(pk=absent))
        elif later == "deleted":
            rows(Permit, "specimen_id").delete(absent)
        elif permit := rows(Permit, "specimen_id").get_or_none(absent):
            permit.specimen_id = None

    found, failed = outcomes(Permit, [add, change], begin=begin)

    assert not found
    assert failed == {1}


def test_looking_at_references_writes_nothing_of_other_tables() -> None:
    Keeper.objects.create(name="Ann")
    runner = Runner()
    with CaptureQueriesContext(connection) as statements, runner.batch(3) as event:
        for number in range(3):
            with event():
                permit = Permit(keeper_id="Ann", number=number)
                runner.view.rows(Permit).add(permit)

    assert Permit.objects.count() == 3
    assert len([s for s in changes(statements) if s.startswith("INSERT")]) == 1


def test_a_code_that_others_refer_to_does_not_change_before_they_do() -> None:
    def begin() -> None:
        Region.objects.all().delete()
        Region.objects.create(number=1, code="a")
        Site.objects.create(pk=1, region_id="a")

    def rename(rows: Any) -> None:
        rows(Region).get(1).code = "b"

    def follow(rows: Any) -> None:
        rows(Site).get(1).region_id = "b"

    found, failed = outcomes(Site, [rename, follow], begin=begin)
    assert failed == {1, 2}
    assert [row[1] for row in found] == ["a"]
    assert Region.objects.get().code == "a"


def slot_model(deferrable: models.Deferrable) -> Any:
    """Return a model whose places are unique when that is looked at."""
    if not connection.features.supports_deferrable_unique_constraints:
        pytest.skip("has none")
    with isolate_apps("tests.support.rows_app"):

        class Slot(models.Model):
            id = models.IntegerField(primary_key=True)
            place = models.IntegerField()

            class Meta:
                app_label = "rows_app"
                constraints = (
                    models.UniqueConstraint(
                        fields=["place"], name="slot_place", deferrable=deferrable
                    ),
                )

    return Slot


def test_a_constraint_that_is_not_deferred_is_looked_at_with_each_statement() -> None:
    slot = slot_model(models.Deferrable.IMMEDIATE)

    def begin() -> None:
        slot.objects.create(id=1, place=1)
        slot.objects.create(id=2, place=2)

    def refer(rows: Any) -> None:
        Owner.objects.get_or_create(name="later")
        Site.objects.create(owner_id="later")

    def move(rows: Any) -> None:
        try:
            with transaction.atomic():
                slot.objects.filter(id=1).update(place=2)
        except IntegrityError:
            slot.objects.filter(id=1).update(place=3)
        slot.objects.filter(id=2).update(place=4)

    with made_tables(slot):
        found, failed = outcomes(slot, [refer, move], begin=begin)
    assert (found, failed) == ([(1, 3), (2, 4)], set())


def test_a_deferred_constraint_is_looked_at() -> None:
    slot = slot_model(models.Deferrable.DEFERRED)

    def begin() -> None:
        slot.objects.create(id=1, place=1)
        slot.objects.create(id=2, place=2)

    def move(pk: int, place: int) -> Any:
        def event(rows: Any) -> None:
            rows(slot).get(pk).place = place

        return event

    def exchange(rows: Any) -> None:
        first, second = rows(slot).get(1), rows(slot).get(2)
        first.place, second.place = second.place, first.place

    with made_tables(slot):
        found, failed = outcomes(slot, [move(1, 2), move(2, 1)], begin=begin)
        assert (found, failed) == ([(1, 1), (2, 2)], {1, 2})
        found, failed = outcomes(slot, [exchange, exchange, exchange], begin=begin)
        assert (found, failed) == ([(1, 2), (2, 1)], set())


def test_a_reference_is_looked_at_though_a_later_savepoint_is_undone() -> None:
    def add(rows: Any) -> None:
        with transaction.atomic():
            rows(Site).add(Site(pk=1, owner_id="later"))
        with suppress(ZeroDivisionError), transaction.atomic():
            rows(Owner).add(Owner(name="undone"))
            1 / 0  # noqa: B018

    def delete(rows: Any) -> None:
        Site.objects.all().delete()

    found, failed = outcomes(Site, [add, delete])

    assert (found, failed) == ([], {1})


def test_a_reference_that_is_corrected_or_undone_is_not_looked_at() -> None:
    def begin() -> None:
        Site.objects.create(pk=1)
        Owner.objects.update_or_create(name="Ann")

    def correct(rows: Any) -> None:
        site = rows(Site).get(1)
        with suppress(IntegrityError), transaction.atomic():
            site.owner_id = "absent"
            assert Owner.objects.exists()
            site.owner_id = "Ann"

    def undo(rows: Any) -> None:
        site = rows(Site).get(1)
        with suppress(IntegrityError, ZeroDivisionError), transaction.atomic():
            site.owner_id = "absent"
            assert Owner.objects.exists()
            1 / 0  # noqa: B018
        site.name = "undone"

    found, failed = outcomes(Site, [correct, undo], begin=begin)

    owner = "Ann" if checks_references_late(connection) else None
    assert (found, failed) == ([(1, None, owner, None, "undone")], set())
