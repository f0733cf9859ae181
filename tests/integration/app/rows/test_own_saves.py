"""Rows that a handler saves by itself, of models whose own code runs then."""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.db.models import F
from django.db.models.signals import post_save, pre_save
from django.test.utils import isolate_apps

from tests.support.batches import Runner
from tests.support.made_events import made_tables, outcomes
from tests.support.rows_app.models import Counter, Keeper, Owner, Site

pytestmark = pytest.mark.django_db(transaction=True)


def _counting(seen: list[Any]) -> type[Any]:
    """Return a model that counts how often it is saved, and asks before and after."""
    with isolate_apps("tests.support.rows_app"):

        class Counting(models.Model):
            id = models.IntegerField(primary_key=True)
            saves = models.IntegerField(default=0)
            price = models.IntegerField(default=0)
            total = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"

            def save(self, **options: Any) -> None:
                self.saves += 1
                self.total = self.price + Owner.objects.count()
                if options.get("update_fields"):
                    options["update_fields"] = {*options["update_fields"], "saves"}
                super().save(**options)
                seen.append((self.saves, type(self).objects.get(pk=self.pk).price))

    return Counting


@pytest.mark.parametrize("options", [{}, {"force_update": True}])
def test_a_changed_row_that_is_saved_is_saved_once(options: dict[str, Any]) -> None:
    seen: list[Any] = []
    model = _counting(seen)

    def save(rows: Any) -> None:
        row = rows(model).get(1)
        row.price += 3
        row.save(**options)
        assert rows(model).get(1) is row
        assert (row.saves, row.price) == seen[-1]

    with made_tables(model):
        found, failed = outcomes(
            model, [save, save], begin=lambda: model.objects.create(pk=1)
        )

    assert (found, failed) == ([(1, 3, 6, 6)], set())
    assert seen == [(1, 0), (2, 3), (3, 6)] * 4


def test_what_is_changed_after_a_save_is_saved_when_the_event_ends() -> None:
    seen: list[Any] = []
    model = _counting(seen)

    def save(rows: Any) -> None:
        row = rows(model).get(1)
        row.price = 3
        row.save()
        row.price = 5

    def save_some(rows: Any) -> None:
        row = rows(model).get(1)
        row.price = 7
        row.total = -1
        row.save(update_fields=["price"])

    with made_tables(model):
        found, failed = outcomes(
            model, [save, save_some], begin=lambda: model.objects.create(pk=1)
        )

    assert not failed
    # The total was not among what was saved.
    assert seen[:5] == [(1, 0), (2, 3), (3, 5), (4, 7), (5, 7)]
    assert found == [(1, 5, 7, 7)]


def test_the_same_value_in_another_form_is_no_change_after_a_save() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Saved(models.Model):
            id = models.IntegerField(primary_key=True)
            saves = models.IntegerField(default=0)
            number = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"

            def save(self, **options: Any) -> None:
                self.saves += 1
                super().save(**options)

    def save(rows: Any) -> None:
        row = rows(Saved).get(1)
        for _ in range(2):
            # Another text each time.
            row.number = "".join(["4", "2"])
            Owner.objects.count()

    def refresh(rows: Any) -> None:
        row = rows(Saved).get(1)
        row.number = "43"
        row.refresh_from_db()
        assert row.number == 43

    with made_tables(Saved):
        found, failed = outcomes(
            Saved, [save, refresh], begin=lambda: Saved.objects.create(pk=1)
        )

    assert (found, failed) == ([(1, 3, 43)], set())


def test_a_save_that_fails_may_be_caught() -> None:
    seen: list[Any] = []
    model = _counting(seen)

    def save(rows: Any) -> None:
        row = rows(model).get(1)
        with suppress(IntegrityError), transaction.atomic():
            row.price += 1
            row.save(force_insert=True)
        row = rows(model).get(1)
        row.price += 10

    with made_tables(model):
        found, failed = outcomes(
            model, [save, save], begin=lambda: model.objects.create(pk=1)
        )

    assert (found, failed) == ([(1, 3, 20, 20)], set())


def test_receivers_hear_once_of_a_row_that_a_handler_saves(
    runner: Runner, rows: Any
) -> None:
    heard: list[Any] = []

    def hear(instance: Any, **kwargs: Any) -> None:
        heard.append((instance.name, Owner.objects.count()))

    Site.objects.create(pk=1)
    pre_save.connect(hear, sender=Site)
    post_save.connect(hear, sender=Site)
    try:
        with runner.batch(2) as event:
            for name in ("first", "second"):
                with event():
                    site = rows(Site).get(1)
                    site.name = name
                    site.save()
    finally:
        pre_save.disconnect(hear, sender=Site)
        post_save.disconnect(hear, sender=Site)

    assert heard == [("first", 0)] * 2 + [("second", 0)] * 2


def test_rows_that_look_at_others_are_saved_in_the_order_of_the_changes() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Looking(models.Model):
            id = models.IntegerField(primary_key=True)
            code = models.IntegerField(default=7, unique=True)
            visits = models.IntegerField(default=0)
            seen = models.CharField(max_length=80, default="")

            class Meta:
                app_label = "rows_app"

            def save(self, **options: Any) -> None:
                owners = Owner.objects.order_by("pk").values_list("name", "visits")
                self.seen += ", ".join(f"{name} {visits}" for name, visits in owners)
                super().save(**options)

    def express(rows: Any) -> None:
        rows(Owner).get("Ann").visits = F("visits") + 1
        # The database has to be asked for it.
        assert rows(Owner).get("Ann").visits == 1

    others: dict[str, Any] = {
        "expression": express,
        "again": lambda rows: rows(Looking).get(1),
        "by code": lambda rows: rows(Looking, key="code").get(7),
        "gone": lambda rows: rows(Owner).delete("Bob"),
        "increment": lambda rows: rows(Owner).increment("Ann", visits=1),
        "see Ann": lambda rows: rows(Owner).get("Ann"),
    }

    def change(rows: Any, *steps: Any) -> None:
        for step in steps:
            if step == "looking":
                rows(Looking).get(1).visits += 1
            elif step in others:
                others[step](rows)
            else:
                rows(Owner).get_or_create(step)[0].visits += 1

    def begin() -> None:
        Owner.objects.all().delete()
        Owner.objects.create(name="Ann")
        Owner.objects.create(name="Bob")
        Looking.objects.create(pk=1)

    cases = [
        (("Ann", "looking"), "Ann 1, Bob 0"),
        (("looking", "Ann"), "Ann 0, Bob 0"),
        (("looking", "gone"), "Ann 0, Bob 0"),
        (("gone", "looking"), "Ann 0"),
        (("looking", "increment"), "Ann 0, Bob 0"),
        (("increment", "looking"), "Ann 1, Bob 0"),
        (("Ann", "looking", "Cy"), "Ann 1, Bob 0"),
        # Rows that were asked for before, and not changed.
        (("again", "Ann", "looking"), "Ann 1, Bob 0"),
        (("see Ann", "looking", "Ann"), "Ann 0, Bob 0"),
    ]
    again = [
        (("Ann", "looking", "again"), "Ann 1, Bob 0"),
        (("Ann", "looking", "by code"), "Ann 1, Bob 0"),
        (("looking", "Ann", "again"), "Ann 0, Bob 0"),
        (("looking", "expression"), "Ann 0, Bob 0"),
    ]
    used_before: list[list[Any]] = [[], [Owner], [Looking]]
    if connection.vendor != "sqlite":
        # The order of the statements comes from the same code on each database.
        used_before = [[Owner]]
    with made_tables(Looking):
        for (steps, seen), used in (
            *product(cases, used_before),
            *product(again, [[]]),
        ):
            events = [
                lambda rows, used=used: [rows(m).get_or_none(0) for m in used],
                lambda rows, steps=steps: change(rows, *steps),
            ]
            found, failed = outcomes(Looking, events, begin=begin)
            assert not failed
            assert found == [(1, 7, 1, f"Ann 0, Bob 0{seen}")]


@pytest.mark.parametrize("how", ["query", "save"])
def test_a_row_is_not_written_over_what_saving_another_one_has_made_of_it(
    how: str,
) -> None:
    with isolate_apps("tests.support.rows_app"):

        class Visitor(models.Model):
            id = models.IntegerField(primary_key=True)
            visits = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"

            def save(self, **options: Any) -> None:
                super().save(**options)
                if how == "query":
                    Owner.objects.filter(name="Ann").update(visits=F("visits") + 1)
                else:
                    ann = Owner.objects.get(name="Ann")
                    ann.visits += 1
                    ann.save()

    def visit(rows: Any, *names: str, refresh: Any = lambda visitor: None) -> None:
        visitor = rows(Visitor).get(1)
        visitor.visits += 1
        refresh(visitor)
        for name in names:
            rows(Owner).get(name).visits += 10

    def begin() -> None:
        Visitor.objects.all().delete()
        Owner.objects.all().delete()
        Owner.objects.create(name="Ann")
        Owner.objects.create(name="Bob")
        Visitor.objects.create(id=1)

    def before(rows: Any) -> None:
        rows(Owner).get("Ann").visits += 10
        visit(rows)

    events = [
        lambda rows: visit(rows, "Bob"),
        lambda rows: visit(rows, "Bob", "Ann"),
        lambda rows: visit(rows, "Ann", refresh=lambda visitor: visitor.save()),
        lambda rows: visit(rows, "Ann", refresh=lambda _: Keeper.objects.count()),
        before,
        lambda rows: visit(rows, "Ann"),
    ]
    with made_tables(Visitor):
        found, failed = outcomes(Owner, events, begin=begin)

    assert failed == {2, 6}
    assert found == [("Ann", 35), ("Bob", 10)]


def test_a_new_row_is_saved_when_all_is_though_another_one_has_to_be_read() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Report(models.Model):
            name = models.CharField(primary_key=True, max_length=5)
            saves = models.IntegerField(default=0)
            seen = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"

            def save(self, **options: Any) -> None:
                self.saves += 1
                self.seen = Owner.objects.get(pk="Ann").visits
                super().save(**options)

    def event(name: str) -> Any:
        def do(rows: Any) -> None:
            # What is pending is written before rows are read.
            rows(Owner).get("Bob").visits += 1
            rows(Owner).get("Bob")
            rows(Owner).get("Ann").visits += 1
            report = rows(Report).add(Report(name=name))
            # In one batch they are known, in another one they have to be read.
            rows(Owner).get_or_none("Cy")
            rows(Report).get_or_none("c")
            report.seen = -1

        return do

    def begin() -> None:
        Owner.objects.all().delete()
        for name in ("Ann", "Bob", "Cy"):
            Owner.objects.create(name=name)

    with made_tables(Report):
        found, failed = outcomes(Report, [event("a"), event("b")], begin=begin)

    assert not failed
    assert found == [("a", 1, 1), ("b", 1, 2)]


def test_what_an_event_before_has_used_makes_no_difference() -> None:
    with isolate_apps("tests.support.rows_app"):

        class Own(models.Model):
            id = models.IntegerField(primary_key=True)

            class Meta:
                app_label = "rows_app"

            def save(self, **options: Any) -> None:
                super().save(**options)

    def use(rows: Any) -> None:
        rows(Own).get_or_create(1)

    def hand_on(rows: Any) -> None:
        ann, bob = rows(Keeper).get("Ann"), rows(Keeper).get("Bob")
        with suppress(IntegrityError), transaction.atomic():
            ann.badge = "b"
            rows(Counter).delete("c")
            bob.badge = "c"

    def begin() -> None:
        Keeper.objects.create(name="Ann", badge="a")
        Keeper.objects.create(name="Bob", badge="b")
        Counter.objects.get_or_create(name="c")

    with made_tables(Own):
        found, failed = outcomes(Keeper, [use, hand_on], begin=begin)

    assert not failed
    assert [row[:2] for row in found] == [("Ann", "b"), ("Bob", "c")]
