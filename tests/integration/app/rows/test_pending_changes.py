"""Pending changes of rows, and what others do to the same tables."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import (
    DatabaseError,
    IntegrityError,
    NotSupportedError,
    connection,
    models,
    transaction,
)
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from eventsourcing.persistence import Tracking

from django_esdb.recorders import DjangoTrackingRecorder
from tests.support.batches import APP, Runner, changes
from tests.support.made_events import outcomes
from tests.support.rows_app.garden import Bed, Note
from tests.support.rows_app.models import (
    Animal,
    BigOwner,
    Counter,
    Keeper,
    Lion,
    Owner,
    Site,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_queries_see_pending_changes(runner: Runner, rows: Any, animal: Animal) -> None:
    with runner.batch(2) as event:
        with event():
            row = rows(Animal).get(animal.pk)
            row.name = "Rex"
            assert Animal.objects.filter(name="Rex").exists()
            row.name = "Bella"
            assert Animal.objects.filter(name="Bella").exists()
        with event():
            assert Animal.objects.get().name == "Bella"
            rows(Counter).increment("a", count=2)
            assert Counter.objects.get().count == 2


def test_foreign_writes_are_seen_and_not_overwritten(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    with runner.batch(3) as event:
        with event():
            row = rows(Animal).get(animal.pk)
            row.tricks.append("roll")
        with event():
            Animal.objects.update(mood="wild", weight=F("weight") + 1)
            row = rows(Animal).get(animal.pk)
            assert row.weight == Decimal("2.50")
            assert row.tricks == ["sit", "roll"]
            row.weight += 1
        with event():
            Animal.objects.filter(pk=animal.pk).update(name="Rex")
            rows(Animal).get(animal.pk).tricks.append("beg")

    animal.refresh_from_db()
    assert (animal.name, animal.mood) == ("Rex", "wild")
    assert animal.weight == Decimal("3.50")
    assert animal.tricks == ["sit", "roll", "beg"]


def test_rows_that_others_delete_or_make_are_noticed(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    other = uuid4()
    with runner.batch(2) as event:
        with event():
            rows(Animal).get(animal.pk)
            assert rows(Animal).get_or_none(other) is None
            Animal.objects.all().delete()
            Animal.objects.create(pk=other, name="Other")
        with event():
            assert rows(Animal).get_or_none(animal.pk) is None
            assert rows(Animal).get(other).name == "Other"


def test_an_instance_may_be_saved_and_deleted_by_itself(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    with runner.batch(3) as event:
        with event():
            row = rows(Animal).get(animal.pk)
            row.tricks.append("roll")
            row.save()
        with event():
            rows(Animal).get(animal.pk).tricks.append("beg")
            assert Animal.objects.get().tricks == ["sit", "roll", "beg"]
        with event():
            rows(Animal).get(animal.pk).delete()
            assert rows(Animal).get_or_none(animal.pk) is None

    assert not Animal.objects.exists()


def test_changing_a_row_that_another_has_deleted_is_an_error(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    with (
        pytest.raises(DatabaseError, match="deleted by another statement"),
        runner.batch(1) as event,
        event(),
    ):
        row = rows(Animal).get(animal.pk)
        Animal.objects.all().delete()
        row.tricks.append("roll")

    assert Animal.objects.get().tricks == ["sit"]


def test_a_savepoint_that_is_rolled_back_undoes_rows_too(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    with runner.batch(2) as event:
        with event():
            row = rows(Animal).get(animal.pk)
            row.tricks.append("before")
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                row.tricks.append("inside")
                rows(Counter).increment("a", count=1)
                rows(Animal).add(Animal(name="Rex"))
                assert Animal.objects.count() == 2
                1 / 0  # noqa: B018
            assert row.tricks == ["sit", "before"]
            row.tricks.append("after")
        with event():
            rows(Animal).get(animal.pk).tricks.append("later")

    assert Animal.objects.get().tricks == ["sit", "before", "after", "later"]
    assert not Counter.objects.exists()


def test_a_savepoint_that_is_rolled_back_undoes_relations_too(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    Owner.objects.create(name="Ann")
    with runner.batch(1) as event, event():
        row = rows(Animal).get(animal.pk)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            row.owner = rows(Owner).get("Ann")
            assert Animal.objects.filter(owner="Ann").exists()
            1 / 0  # noqa: B018
        assert (row.owner_id, row.owner) == (None, None)

    assert Animal.objects.get().owner_id is None


@pytest.mark.parametrize("is_new", [True, False])
def test_a_savepoint_undoes_references_to_rows_of_any_model_too(
    runner: Runner, rows: Any, is_new: bool
) -> None:
    if not is_new:
        Bed.objects.create(id=1)
    Note.objects.create(id=1)
    with runner.batch(2) as event:
        for _ in range(2):
            with event():
                note = rows(Note).get(1)
                with pytest.raises(ZeroDivisionError), transaction.atomic():
                    note.about = rows(Bed).get_or_create(1)[0]
                    assert Note.objects.filter(number=1).exists()
                    1 / 0  # noqa: B018
                assert (note.kind, note.number, note.about) == (None, None, None)

    assert Note.objects.values_list().get() == (1, None, None)


@pytest.mark.parametrize("model", [Counter, Owner], ids=["alone", "with others"])
def test_a_row_whose_deletion_is_undone_is_still_in_hand(
    runner: Runner, rows: Any, model: Any
) -> None:
    model.objects.create(name="a")
    name = "count" if model is Counter else "visits"
    with runner.batch(2) as event:
        with event():
            row = rows(model).get("a")
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                with pytest.raises(ZeroDivisionError), transaction.atomic():
                    rows(model).delete("a")
                    1 / 0  # noqa: B018
                assert rows(model).delete("a")
                with pytest.raises(ZeroDivisionError), transaction.atomic():
                    1 / 0  # noqa: B018
                assert rows(model).get_or_none("a") is None
                1 / 0  # noqa: B018
            setattr(row, name, 5)
        with event():
            rows(model).increment("a", **{name: 1})

    assert model.objects.values_list(name).get() == (6,)


# Batches


def test_statements_do_not_grow_with_events(runner: Runner, rows: Any) -> None:
    def count(events: int) -> int:
        keys = [uuid4() for _ in range(events // 2)]
        existing = [uuid4() for _ in range(events // 2)]
        Animal.objects.bulk_create(Animal(pk=k, name=k.hex[:20]) for k in existing)
        with (
            CaptureQueriesContext(connection) as statements,
            runner.batch(2 * events, [*keys, *existing]) as event,
        ):
            for key in keys:
                with event():
                    assert rows(Animal).get_or_none(key) is None
                    rows(Animal).add(Animal(pk=key, name=key.hex[:20]))
            for key in (*existing, *keys, *keys):
                with event():
                    rows(Animal).get(key).tricks.append("sit")
                    rows(Counter).increment("tricks", count=1)
        return len(changes(statements))

    assert count(10) == count(200)
    assert Animal.objects.count() == 10 + 200


def test_rows_do_not_leak_from_a_failed_batch(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        runner.batch(1) as event,
        event(),
    ):
        rows(Animal).get(animal.pk).tricks.append("lost")
        1 / 0  # noqa: B018
    with runner.batch(1) as event, event():
        assert rows(Animal).get(animal.pk).tricks == ["sit"]

    assert Animal.objects.get().tricks == ["sit"]


def test_rows_do_not_leak_to_another_view(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    other = Runner()
    other.view.name = "other"
    other.view.ensure_row(APP)
    with runner.batch(1) as event, event():
        rows(Animal).get(animal.pk).tricks.append("roll")
    Animal.objects.update(tricks=[])
    with other.batch(1) as event, event():
        assert other.view.rows(Animal).get(animal.pk).tricks == []


def test_outside_a_runner_atomic_writes_rows(animal: Animal) -> None:
    view = DjangoTrackingRecorder("projection")

    with view.atomic(Tracking(APP, 1)):
        view.rows(Animal).get(animal.pk).tricks.append("roll")

    assert Animal.objects.get().tricks == ["sit", "roll"]


# Bad input


class AbstractModel(models.Model):
    class Meta:
        abstract = True
        app_label = "rows_app"


def test_rows_take_a_transaction() -> None:
    with pytest.raises(transaction.TransactionManagementError, match=r"self\.atomic"):
        DjangoTrackingRecorder("projection").rows(Animal)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda rows: rows(Lion), NotSupportedError, "a table of its own"),
        (lambda rows: rows(AbstractModel), NotSupportedError, "is abstract"),
        (lambda rows: rows(BigOwner), NotSupportedError, r"use rows\(Owner\)"),
        (lambda rows: rows(Animal, key="mood"), ValueError, "mood is not unique"),
        (lambda rows: rows(Animal, key="x"), FieldDoesNotExist, "x"),
        (lambda rows: rows(Animal).add(Owner(name="x")), TypeError, "no Animal"),
    ],
)
def test_wrong_use_is_refused(
    runner: Runner, rows: Any, call: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says), runner.batch(1) as event, event():
        call(rows)


def test_a_copy_by_another_key_is_refused_after_other_statements(
    runner: Runner, rows: Any
) -> None:
    Counter.objects.create(name="a")
    site = Site.objects.create(name="first")
    with (
        pytest.raises(NotSupportedError, match="add another one"),
        runner.batch(1) as event,
        event(),
    ):
        row = rows(Site).get(site.pk)
        Counter.objects.update(count=1)
        row.pk = None
        row._state.adding = True
        row.save()
        row.name = "second"

    assert Site.objects.get().name == "first"


def test_a_changed_primary_key_is_refused(runner: Runner, rows: Any) -> None:
    Counter.objects.create(name="a")
    with (
        pytest.raises(NotSupportedError, match="primary key of Counter 'a'"),
        runner.batch(1) as event,
        event(),
    ):
        rows(Counter).get("a").name = "b"

    assert Counter.objects.get().name == "a"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda rows: rows(Animal).add(Animal(name="Fido")), IntegrityError),
        (
            lambda rows: rows(Animal).add(
                Animal(pk=UUID(int=1), name="x", owner_id="absent")
            ),
            IntegrityError,
        ),
        (
            lambda rows: (
                rows(Animal, key="name").get("Fido").__dict__.update(name=None)
            ),
            IntegrityError,
        ),
    ],
    ids=["not unique", "no such reference", "null"],
)
def test_what_the_database_refuses_leaves_nothing(
    runner: Runner, rows: Any, animal: Animal, change: Any, error: type[Exception]
) -> None:
    with pytest.raises(error), runner.batch(2) as event:
        with event():
            rows(Counter).increment("a", count=1)
        with event():
            change(rows)

    assert not Counter.objects.exists()
    assert Animal.objects.count() == 1
    assert runner.view.max_tracking_id(APP) is None


def test_the_known_primary_key_is_refused_at_once(
    runner: Runner, rows: Any, animal: Animal
) -> None:
    with (
        pytest.raises(IntegrityError, match="exists already"),
        runner.batch(1) as event,
        event(),
    ):
        rows(Animal).get(animal.pk)
        with pytest.raises(ValidationError, match="must be a decimal"):
            rows(Animal).add(Animal(pk=animal.pk, weight=Decimal("NaN")))
        rows(Animal).add(Animal(pk=animal.pk, name="Rex"))


@pytest.mark.parametrize("notes", ["\0", "ok"])
@pytest.mark.parametrize("rank", [70_000, 2])
def test_a_value_of_a_row_with_a_known_key_is_refused_as_the_database_does(
    notes: str, rank: int
) -> None:
    """It may say what is wrong with a value before it looks at keys."""

    def add(rows: Any) -> None:
        try:
            with transaction.atomic():
                rows(Keeper).add(Keeper(name="Ann", notes=notes, rank=rank))
        except IntegrityError:
            rows(Keeper).get("Ann").rank += 1

    def get(rows: Any) -> None:
        rows(Keeper).get("Ann")

    def begin() -> None:
        Keeper.objects.create(name="Ann")

    begin()
    with pytest.raises(DatabaseError) as plainly, transaction.atomic():
        Keeper.objects.create(name="Ann", notes=notes, rank=rank)
    is_caught = isinstance(plainly.value, IntegrityError)
    found, failed = outcomes(Keeper, [get, add, add], begin=begin)

    assert failed == (set() if is_caught else {2, 3})
    assert found[0][4] == (2 if is_caught else 0)
