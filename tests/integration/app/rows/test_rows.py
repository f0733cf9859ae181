from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import FieldDoesNotExist
from django.db import NotSupportedError, connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from tests.support.batches import Runner, changes
from tests.support.rows_app.models import (
    Animal,
    Cage,
    Counter,
    Keeper,
    Owner,
    Permit,
    Specimen,
    Visit,
)

pytestmark = pytest.mark.django_db(transaction=True)


# What is written


def test_changed_attributes_are_written(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    with runner.batch(2) as event:
        with event():
            rows(Animal).get(animal.pk).tricks.append("roll")
        with event():
            rows(Animal).get(str(animal.pk)).weight += Decimal("0.25")

    animal.refresh_from_db()
    assert animal.tricks == ["sit", "roll"]
    assert animal.weight == Decimal("1.75")


def test_only_changed_fields_are_written(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    with runner.batch(1) as event, event():
        rows(Animal).get(animal.pk).tricks.append("roll")
        # A write that is not noticed.
        with runner.view._current.unit.own_statements():
            Animal.objects.update(mood="wild")

    assert Animal.objects.get().mood == "wild"


def test_nothing_is_written_when_nothing_has_changed(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    with (
        CaptureQueriesContext(connection) as statements,
        runner.batch(1) as event,
        event(),
    ):
        assert rows(Animal).get(animal.pk).tricks == ["sit"]

    assert len(changes(statements)) == 1


def test_times_of_creation_and_change_are_kept_as_django_does(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    created_at, changed_at = animal.created_at, animal.changed_at

    with runner.batch(1) as event, event():
        row = rows(Animal).get(animal.pk)
        row.name = "Rex"
        connection.cursor().execute("SELECT 1")
        assert row.created_at == created_at

    animal.refresh_from_db()
    assert animal.created_at == created_at
    assert animal.changed_at > changed_at


def test_new_rows_have_all_defaults(runner: Runner, rows: Any) -> None:
    with runner.batch(2) as event:
        with event():
            rows(Owner).add(Owner(name="Ann"))
            new = rows(Animal).add(Animal(name="Fido", owner_id="Ann"))
        with event():
            rows(Animal).get(new.pk).tricks.append("sit")

    animal = Animal.objects.get()
    assert (animal.owner_id, animal.mood, animal.tricks) == ("Ann", "calm", ["sit"])
    assert animal.born is not None
    assert animal.weight == 0


def test_database_defaults_are_seen_in_the_same_batch(
    runner: Runner, rows: Any
) -> None:
    with runner.batch(2) as event:
        with event():
            new = rows(Animal).add(Animal(name="Fido"))
        with event():
            assert Animal.objects.count() == 1
            assert rows(Animal).get(new.pk).mood == "calm"


def test_rows_whose_key_the_database_chooses(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    with runner.batch(2) as event:
        with event():
            visit = rows(Visit).add(Visit(animal=animal, number=1))
            rows(Visit).add(Visit(animal=animal, number=2))
        with event():
            assert Visit.objects.count() == 2
            rows(Visit).get(visit.pk).number = 3

    assert sorted(Visit.objects.values_list("number", flat=True)) == [2, 3]


def test_expressions_can_be_assigned(runner: Runner, rows: Any) -> None:
    Counter.objects.create(name="a", count=1)
    with runner.batch(2) as event:
        with event():
            rows(Counter).get("a").count = F("count") + 5
        with event():
            assert Counter.objects.filter(count=6).exists()
            assert rows(Counter).get("a").count == 6

    assert Counter.objects.get().count == 6


def test_generated_and_binary_values_are_right_in_later_events(
    runner: Runner, rows: Any
) -> None:
    with runner.batch(3) as event:
        with event():
            rows(Cage).add(Cage(code="a", width=2, length=3, plan=b"x"))
        with event():
            cage = rows(Cage).get("a")
            assert cage.area == 6
            cage.width = 5
            cage.plan = b"y"
        with event():
            assert rows(Cage).get("a").area == 15
            assert bytes(rows(Cage).get("a").plan) == b"y"
    with (
        CaptureQueriesContext(connection) as statements,
        runner.batch(1) as event,
        event(),
    ):
        assert rows(Cage).get("a").area == 15

    assert len(changes(statements)) == 1


# Finding rows


def test_a_row_has_one_instance(runner: Runner, rows: Any, animal: Animal) -> None:
    with runner.batch(2) as event:
        for _ in range(2):
            with event():
                first = rows(Animal).get(animal.pk)
                assert rows(Animal, key="name").get("Fido") is first
                assert rows(Animal).get_or_none(animal.pk) is first
                assert rows(Animal).filter(pk__in=[animal.pk])[0] is first
                assert rows(Animal).get_or_create(animal.pk)[0] is first


def test_missing_rows(runner: Runner, rows: Any) -> None:
    with runner.batch(1) as event, event():
        key = uuid4()
        with pytest.raises(Animal.DoesNotExist, match=str(key)):
            rows(Animal).get(key)
        assert rows(Animal).get_or_none(key) is None
        assert rows(Animal, key="name").get_or_none("Absent") is None
        assert rows(Animal).filter(pk__in=[key]) == []
        assert not rows(Animal).delete(key)


def test_get_or_create_makes_a_row_once(runner: Runner, rows: Any) -> None:
    with runner.batch(3) as event:
        for expected in (True, False, False):
            with event():
                counter, created = rows(Counter).get_or_create("a", {"total": 5})
                assert created is expected
                counter.count += 1

    assert list(Counter.objects.values_list("name", "count", "total")) == [("a", 3, 5)]


def test_get_or_create_by_another_key(runner: Runner, rows: Any) -> None:
    with runner.batch(2) as event:
        for expected in (True, False):
            with event():
                _, created = rows(Animal, key="name").get_or_create("Fido")
                assert created is expected

    assert Animal.objects.get().name == "Fido"


@pytest.mark.parametrize("key", ["specimen", "specimen_id"])
def test_a_foreign_key_is_named_as_the_orm_names_it(
    runner: Runner, rows: Any, key: str
) -> None:
    specimen = Specimen.objects.create()
    Keeper.objects.create(name="Ann")
    Permit.objects.create(specimen=specimen, keeper_id="Ann", number=1)

    with runner.batch(1) as event, event():
        rows(Permit, key).get(specimen.pk).number = 2

    assert Permit.objects.get().number == 2


def test_a_changed_key_finds_the_row_by_its_new_value_only(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    by_name = "name"
    with runner.batch(3) as event:
        with event():
            assert rows(Animal, key=by_name).get_or_none("Rex") is None
            row = rows(Animal, key=by_name).get("Fido")
            row.name = "Rex"
            assert rows(Animal, key=by_name).get_or_none("Fido") is None
            assert rows(Animal, key=by_name).get("Rex") is row
        with event():
            assert rows(Animal, key=by_name).get("Rex") == row
            assert rows(Animal, key=by_name).get_or_none("Fido") is None

    assert Animal.objects.get().name == "Rex"


def test_deleted_rows_are_gone_and_can_be_made_again(runner: Runner, rows: Any) -> None:
    Counter.objects.create(name="a", count=7)
    with runner.batch(3) as event:
        with event():
            assert rows(Counter).delete("a")
            assert rows(Counter).get_or_none("a") is None
            assert not rows(Counter).delete("a")
        with event():
            rows(Counter).add(Counter(name="a", count=1))
        with event():
            new = rows(Counter).add(Counter(name="b"))
            assert rows(Counter).delete(new)

    assert list(Counter.objects.values_list("name", "count")) == [("a", 1)]


def test_deletion_takes_along_what_depends_on_the_row_as_it_is_by_then(
    runner: Runner, rows: Any
) -> None:
    for name in ("Ann", "Bob"):
        Owner.objects.create(name=name)
    moved = Animal.objects.create(name="moved", owner_id="Ann")
    gone = Animal.objects.create(name="gone", owner_id="Ann")
    with runner.batch(3) as event:
        with event():
            rows(Animal).get(gone.pk).tricks.append("x")
            rows(Animal).get(moved.pk).owner_id = "Bob"
        with event():
            rows(Owner).delete("Ann")
        with event():
            assert rows(Animal).get_or_none(gone.pk) is None
            rows(Animal).get(moved.pk).tricks.append("sit")

    assert Animal.objects.get().tricks == ["sit"]


# Counters


def test_increments_fold_into_one_write(runner: Runner, rows: Any) -> None:
    Counter.objects.create(name="a", count=10)
    with CaptureQueriesContext(connection) as statements, runner.batch(50) as event:
        for number in range(50):
            with event():
                rows(Counter).increment("a", count=1, total=number)
                rows(Counter).increment("b", count=2)

    assert sorted(Counter.objects.values_list("name", "count", "total")) == [
        ("a", 60, sum(range(50))),
        ("b", 100, 0),
    ]
    assert len(changes(statements)) == 4


def test_increment_is_seen_by_who_gets_the_row(runner: Runner, rows: Any) -> None:
    Counter.objects.create(name="a", count=10)
    with runner.batch(3) as event:
        with event():
            rows(Counter).increment("a", count=1)
            assert rows(Counter).get("a").count == 11
            rows(Counter).increment("a", count=1)
            assert rows(Counter).get("a").count == 12
        with event():
            rows(Counter).increment("b", count=3)
            assert Counter.objects.get(name="b").count == 3
        with event():
            rows(Counter).increment("b", count=3)
            assert rows(Counter).get("b").count == 6


def test_increments_and_assignments_take_turns(runner: Runner, rows: Any) -> None:
    Counter.objects.create(name="a", count=10)
    with runner.batch(6) as event:
        for _ in range(2):
            with event():
                rows(Counter).get("a").count += 1
            with event():
                rows(Counter).increment("a", count=1, total=5)
                rows(Counter).increment("a", count=1)
            with event():
                row = rows(Counter).get("a")
                rows(Counter).increment("a", count=1)
                row.count += 1
                del row

    assert list(Counter.objects.values_list("count", "total")) == [(20, 10)]


def test_increment_is_undone_with_its_savepoint(runner: Runner, rows: Any) -> None:
    Counter.objects.create(name="a", count=10)
    with runner.batch(3) as event:
        with event():
            rows(Counter).increment("a", count=1)
        with event():
            with suppress(ZeroDivisionError), transaction.atomic():
                rows(Counter).increment("a", count=100)
                1 / 0  # noqa: B018
            assert rows(Counter).get("a").count == 11
        with event():
            rows(Counter).increment("a", count=1)

    assert Counter.objects.get().count == 12


def test_increment_does_what_the_model_does_when_it_is_assigned(
    runner: Runner, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Counter.objects.create(name="a")

    def assign(self: Counter, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name == "count":
            object.__setattr__(self, "total", value * 2)

    monkeypatch.setattr(Counter, "__setattr__", assign, raising=False)
    with runner.batch(3) as event:
        for _ in range(3):
            with event():
                rows(Counter).increment("a", count=1)

    assert Counter.objects.values_list("count", "total").get() == (3, 6)


def test_increment_of_an_instance_that_was_kept_and_changed_is_an_error(
    runner: Runner, rows: Any
) -> None:
    Counter.objects.create(name="a")
    with pytest.raises(NotSupportedError, match="an instance of an earlier event"):  # noqa: SIM117
        with runner.batch(2) as event:
            with event():
                kept = rows(Counter).get("a")
            with event():
                kept.count = 5
                rows(Counter).increment("a", count=1)


def test_increment_of_an_unknown_field_is_an_error(runner: Runner, rows: Any) -> None:
    with (
        pytest.raises(FieldDoesNotExist),
        runner.batch(1) as event,
        event(),
    ):
        rows(Counter).increment("a", cuont=1)


# Next to other statements
