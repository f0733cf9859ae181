"""Rows that other code saves, too, and models that save in their own way."""

from __future__ import annotations

import copy
import pickle
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, models, transaction
from django.db.models.signals import post_save
from django.test.utils import isolate_apps

from tests.support.batches import Runner
from tests.support.made_events import made_tables, outcomes, processed
from tests.support.rows_app.models import Gauge, Owner, Site, Specimen

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("model", "values"),
    [(Site, {}), (Specimen, {"id": UUID(int=5)}), (Gauge, {"id": 5})],
    ids=["numbered", "with a default", "neither"],
)
def test_an_added_row_may_be_saved_by_itself(
    runner: Runner, rows: Any, model: Any, values: dict[str, Any]
) -> None:
    with runner.batch(1) as event, event():
        instance = rows(model).add(model(**values))
        instance.save()
        assert instance.pk is not None
        assert not instance._state.adding
        instance.save()

    assert model.objects.count() == 1


def test_a_row_that_the_database_numbers_is_not_added_twice(
    runner: Runner, rows: Any
) -> None:
    site = Site()
    with (
        pytest.raises(IntegrityError, match="exists already"),
        runner.batch(1) as event,
        event(),
    ):
        rows(Site).add(site)
        rows(Site).add(site)

    assert not Site.objects.exists()


def test_copies_of_an_added_row_are_none(runner: Runner, rows: Any) -> None:
    with runner.batch(1) as event, event():
        site = rows(Site).add(Site(name="first"))
        copies = [copy.copy(site), pickle.loads(pickle.dumps(site))]
        for number, each in enumerate(copies):
            each.name = f"copy {number}"
            each.save()

    assert sorted(Site.objects.values_list("name", flat=True)) == [
        "copy 0",
        "copy 1",
        "first",
    ]


def test_rows_are_saved_in_the_order_in_which_they_were_added(
    runner: Runner, rows: Any
) -> None:
    saved: list[str] = []

    def note(instance: Any, **kwargs: Any) -> None:
        saved.append(f"{instance.name} of {Site.objects.count()}")

    post_save.connect(note, sender=Site)
    try:
        with runner.batch(1) as event, event():
            for name in ("first", "second", "third"):
                rows(Site).add(Site(name=name))
    finally:
        post_save.disconnect(note, sender=Site)

    assert saved == ["first of 1", "second of 2", "third of 3"]
    assert [site.name for site in Site.objects.order_by("pk")] == [
        "first",
        "second",
        "third",
    ]


class Shouted(models.CharField):
    """Saves something else than is assigned."""

    def pre_save(self, instance: models.Model, add: bool) -> Any:
        return getattr(instance, self.attname).upper()


class Numbered(models.CharField):
    """Asks the database for what is saved."""

    def pre_save(self, instance: Any, add: bool) -> Any:
        if add:
            count = type(instance)._default_manager.count()
            setattr(instance, self.attname, f"number {count}")
        return getattr(instance, self.attname)


class Priced:
    """What an attribute is, which is kept elsewhere in the instance."""

    def __init__(self, field: Any) -> None:
        self._field = field

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else instance.__dict__.get("_price")

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__["_price"] = value if isinstance(value, str) else f"€ {value}"


class Price(models.IntegerField):
    descriptor_class = Priced

    def get_prep_value(self, value: Any) -> Any:
        number = value.removeprefix("€ ") if isinstance(value, str) else value
        return super().get_prep_value(number)


def test_a_field_saves_what_it_says() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Saying(models.Model):
            id = models.IntegerField(primary_key=True)
            shouted = Shouted(max_length=20, default="a")
            slug = Numbered(max_length=20, unique=True)

            class Meta:
                app_label = "rows_app"

    def add(rows: Any) -> None:
        for number in range(2):
            rows(Saying).add(Saying(id=number, shouted="x"))

    def change(rows: Any) -> None:
        row = rows(Saying).get(1)
        row.shouted += "y"

    with made_tables(Saying):
        found, failed = outcomes(Saying, [add, change, change])

    assert found == [(0, "X", "number 0"), (1, "XYY", "number 1")]
    assert not failed


def test_an_attribute_that_is_more_than_its_value_is_made_by_its_field() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Offer(models.Model):
            id = models.IntegerField(primary_key=True)
            price = Price(default=1)
            changed = models.DateTimeField(auto_now=True)

            class Meta:
                app_label = "rows_app"

    def raise_price(rows: Any) -> None:
        offer = rows(Offer).get(1)
        assert offer.price.startswith("€ ")
        offer.price = int(offer.price.removeprefix("€ ")) + 1

    with made_tables(Offer):
        for sizes in ([], [1] * 3):
            Offer.objects.all().delete()
            events = [
                lambda rows: rows(Offer).add(Offer(id=1)),
                raise_price,
                raise_price,
            ]
            assert not processed(events, sizes)
            assert Offer.objects.get().price == "€ 3"


def test_a_model_that_writes_in_its_own_way_does_so() -> None:
    written: list[int] = []
    with isolate_apps("tests.support.rows_app"):

        class Written(models.Model):
            id = models.IntegerField(primary_key=True)

            class Meta:
                app_label = "rows_app"

            def _do_insert(self, *args: Any) -> Any:
                written.append(self.pk)
                return super()._do_insert(*args)

    with made_tables(Written):
        assert not processed([lambda rows: rows(Written).add(Written(id=7))])

    assert written == [7]


def test_a_related_manager_takes_what_was_added(runner: Runner, rows: Any) -> None:
    with runner.batch(1) as event, event():
        parent, child = rows(Site).add(Site(pk=1)), rows(Site).add(Site(pk=2))
        parent.site_set.add(child)

    assert Site.objects.exclude(parent=None).count() == 1


def test_a_key_that_is_none_is_made_as_a_save_makes_it(
    runner: Runner, rows: Any
) -> None:
    with runner.batch(1) as event, event():
        specimen = rows(Specimen).add(Specimen(id=None))
        assert isinstance(specimen.pk, UUID)
        rows(Owner).add(Owner(name=None))

    assert Specimen.objects.get().pk == specimen.pk
    assert Owner.objects.get().pk == ""


class Marking(models.QuerySet[Any]):
    def delete(self) -> Any:
        return self.update(is_gone=True)


class Living(models.Manager.from_queryset(Marking)):  # type: ignore[misc]
    """Does not find what is marked."""

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(is_gone=False)


def test_a_model_may_keep_what_is_deleted() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Marked(models.Model):
            id = models.IntegerField(primary_key=True)
            is_gone = models.BooleanField(default=False)
            note = models.CharField(max_length=20, default="")
            saves = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"

            def save(self, **options: Any) -> None:
                self.saves += 1
                super().save(**options)

            def delete(self) -> None:  # type: ignore[override]
                self.is_gone = True
                self.save()

    def add(rows: Any) -> None:
        for number in (1, 2):
            rows(Marked).add(Marked(id=number))

    def delete(rows: Any) -> None:
        marked = rows(Marked).get(2)
        marked.note = "before"
        assert rows(Marked).delete(2)
        marked.note += ", after"

    def go_on(rows: Any) -> None:
        rows(Marked).get(2).note += ", later"

    with made_tables(Marked):
        events = [add, lambda rows: rows(Marked).delete(1), delete, go_on]
        found, failed = outcomes(Marked, events)

    assert not failed
    assert found == [(1, True, "", 2), (2, True, "before, after, later", 5)]


def test_a_row_whose_deletion_was_refused_is_still_in_hand() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Guarded(models.Model):
            id = models.IntegerField(primary_key=True)
            visits = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"

        class Guard(models.Model):
            guarded = models.ForeignKey(Guarded, models.PROTECT)

            class Meta:
                app_label = "rows_app"

    def begin() -> None:
        Guard.objects.create(guarded=Guarded.objects.create(id=1))

    def delete(rows: Any) -> None:
        guarded = rows(Guarded).get(1)
        guarded.visits += 1
        with pytest.raises(models.ProtectedError):
            rows(Guarded).delete(1)
        guarded.visits += 10

    with made_tables(Guarded, Guard):
        for sizes in ([1, 1], []):
            Guard.objects.all().delete()
            Guarded.objects.all().delete()
            begin()
            assert not processed([delete, delete], sizes)
            assert Guarded.objects.get().visits == 22


def test_managers_do_not_decide_what_is_written() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Marked(models.Model):
            id = models.IntegerField(primary_key=True)
            is_gone = models.BooleanField(default=False)
            parent = models.ForeignKey("self", models.DO_NOTHING, null=True)
            objects = models.Manager()
            living = Living()

            class Meta:
                app_label = "rows_app"
                base_manager_name = "living"

    def add(rows: Any) -> None:
        for number in (1, 2, 3):
            rows(Marked).add(Marked(id=number, is_gone=number == 3))

    def refer(rows: Any) -> None:
        rows(Marked).get(2).parent_id = 3

    def mark(rows: Any) -> None:
        rows(Marked).get(2).is_gone = True

    def go_on(rows: Any) -> None:
        # As save() does: it finds nothing to update, and inserts the row once more.
        rows(Marked).get(2).parent_id = 1

    with made_tables(Marked):
        events = [add, refer, mark, go_on, lambda rows: rows(Marked).delete(1)]
        found, failed = outcomes(Marked, events)

    assert found == [(2, True, 3), (3, True, None)]
    assert failed == {4}


def test_rows_are_put_in_their_place_among_others() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Placed(models.Model):
            id = models.IntegerField(primary_key=True)
            owner = models.ForeignKey(Owner, models.CASCADE, db_constraint=False)

            class Meta:
                app_label = "rows_app"
                order_with_respect_to = "owner"

    def add(rows: Any, *numbers: int) -> None:
        for number in numbers:
            rows(Placed).add(Placed(id=number, owner_id="Ann"))

    with made_tables(Placed):
        events = [lambda rows: add(rows, 5, 3), lambda rows: add(rows, 4)]
        found, failed = outcomes(Placed, events)

    assert found == [(3, "Ann", 1), (4, "Ann", 2), (5, "Ann", 0)]
    assert not failed


def test_the_next_event_sees_what_the_database_has_made_of_what_a_model_saved() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Priced(models.Model):
            id = models.IntegerField(primary_key=True)
            price = models.DecimalField(max_digits=5, decimal_places=2, default=0)
            total = models.DecimalField(max_digits=8, decimal_places=4, default=0)

            class Meta:
                app_label = "rows_app"

            def save(self, **options: Any) -> None:
                super().save(**options)

    def add(rows: Any) -> None:
        rows(Priced).add(Priced(id=1, price=Decimal("1.006")))

    def total(rows: Any) -> None:
        priced = rows(Priced).get(1)
        priced.total += priced.price

    with made_tables(Priced):
        found, failed = outcomes(Priced, [add, total, total])

    assert (found, failed) == ([(1, Decimal("1.01"), Decimal("2.02"))], set())


@pytest.mark.parametrize("number", [1, "no number"])
def test_a_refused_save_at_the_end_of_a_savepoint_may_be_caught(number: Any) -> None:
    with isolate_apps("tests.support.rows_app"):

        class Stamped(models.Model):
            id = models.IntegerField(primary_key=True)
            rank = models.IntegerField(unique=True)
            stamps = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"

            def save(self, **options: Any) -> None:
                self.stamps += 1
                super().save(**options)

    def add_another(rows: Any) -> None:
        with suppress(IntegrityError, ValueError), transaction.atomic():
            rows(Stamped).get(1).stamps += 10
            rows(Stamped).add(Stamped(id=2, rank=number))
        rows(Stamped).get(1)
        rows(Stamped).add(Stamped(id=3, rank=3))

    with made_tables(Stamped):
        found, failed = outcomes(
            Stamped, [add_another], begin=lambda: Stamped.objects.create(id=1, rank=1)
        )

    assert (found, failed) == ([(1, 1, 1), (3, 3, 1)], set())


def test_a_refused_value_at_the_end_of_a_savepoint_may_be_caught(
    runner: Runner, rows: Any
) -> None:
    Gauge.objects.create(id=1)
    with runner.batch(2) as event:
        with event():
            with pytest.raises(ValueError, match="no number"), transaction.atomic():
                rows(Gauge).get(1).level = "no number"
            rows(Gauge).get(1).width = 2
        with event():
            rows(Gauge).increment(1, level=1)

    assert Gauge.objects.values_list("level", "width").get() == (1, 2)
