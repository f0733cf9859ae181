"""Cases in which batches once left something else than single events would have."""

from __future__ import annotations

import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, NotSupportedError, connection, transaction
from django.db.models.signals import post_delete, post_save
from django.test.utils import CaptureQueriesContext
from eventsourcing.persistence import Tracking

from django_esdb.db.guards import refuse_statements
from django_esdb.exceptions import ViewDatabaseError
from django_esdb.recorders import DjangoTrackingRecorder
from tests.support.batches import APP, Runner, changes
from tests.support.rows_app.models import (
    Animal,
    Chip,
    Counter,
    Gauge,
    Keeper,
    Owner,
    Permit,
    Specimen,
    Visit,
)

pytestmark = pytest.mark.django_db(transaction=True)


class Trick(StrEnum):
    ROLL = "roll"


def test_an_increment_by_one_key_is_seen_by_another(runner: Runner, rows: Any) -> None:
    Keeper.objects.create(name="Ann", badge="a")
    with runner.batch(3) as event:
        with event():
            rows(Keeper, key="badge").increment("a", rank=2)
            assert rows(Keeper).get("Ann").rank == 2
        with event():
            rows(Keeper, key="badge").get("a").badge = "b"
        with event():
            rows(Keeper, key="badge").increment("b", rank=1)

    assert list(Keeper.objects.values_list("name", "badge", "rank")) == [
        ("Ann", "b", 3)
    ]


def test_increments_are_rounded_one_by_one(runner: Runner, rows: Any) -> None:
    specimen = Specimen.objects.create()
    with runner.batch(10) as event:
        for _ in range(10):
            with event():
                rows(Specimen).increment(specimen.pk, price=Decimal("0.004"))

    specimen.refresh_from_db()
    assert specimen.price == 0


def test_a_key_in_another_form_is_the_fields_key(runner: Runner, rows: Any) -> None:
    key = uuid4()
    with runner.batch(3) as event:
        with event():
            row = rows(Specimen).add(Specimen(id=str(key)))
            assert row.pk == key
        with event():
            assert rows(Specimen).delete(key)
        with event():
            assert rows(Specimen).get_or_none(key.hex) is None
            rows(Specimen).add(Specimen(id=key.hex, text="again"))

    assert Specimen.objects.get().text == "again"


def test_parents_come_first_and_give_their_keys(runner: Runner, rows: Any) -> None:
    with runner.batch(2) as event:
        with event():
            keeper = rows(Keeper).add(Keeper(name="Ann"))
            rows(Permit).add(Permit(keeper=keeper, number=1))
            specimen = rows(Specimen).add(Specimen(keeper=keeper))
            rows(Chip).add(Chip(specimen=specimen, code=7))
        with event():
            animal = rows(Animal).add(Animal(name="Fido", owner=Owner(name="Bob")))
            rows(Owner).add(animal.owner)
            rows(Visit).add(Visit(animal=animal, number=1))

    assert Permit.objects.get().keeper_id == "Ann"
    assert Chip.objects.get().specimen.keeper_id == "Ann"
    assert Visit.objects.get().animal.owner_id == "Bob"


def test_only_values_go_from_event_to_event(runner: Runner, rows: Any) -> None:
    Owner.objects.create(name="Ann")
    animal = Animal.objects.create(name="Fido", owner_id="Ann")
    with runner.batch(2) as event:
        with event():
            row: Any = rows(Animal).get(animal.pk)
            row.remembered = True
            assert row.owner.visits == 0
            rows(Owner).get("Ann").visits = 5
        with event():
            row = rows(Animal).get(animal.pk)
            assert not hasattr(row, "remembered")
            assert row.owner.visits == 5


def test_only_values_go_on_though_no_one_holds_the_instance(
    runner: Runner, rows: Any
) -> None:
    Counter.objects.create(name="a")
    with runner.batch(2) as event:
        with event():
            rows(Counter).get("a").remembered = True
        with event():
            assert not hasattr(rows(Counter).get("a"), "remembered")


def test_a_deferred_field_leaves_no_room_for_what_an_instance_remembers(
    runner: Runner, rows: Any
) -> None:
    Counter.objects.create(name="a", count=3)
    with runner.batch(2) as event:
        with event():
            row = rows(Counter).get("a")
            row.remembered = True
            del row.count, row
        with event():
            row = rows(Counter).get("a")
            assert not hasattr(row, "remembered")
            assert row.__dict__["count"] == 3


def test_members_of_enumerations_in_json_are_plain_in_later_events(
    runner: Runner, rows: Any
) -> None:
    animal = Animal.objects.create(name="Fido", tricks=["sit"])
    with runner.batch(2) as event:
        with event():
            rows(Animal).get(animal.pk).tricks = ["sit", Trick.ROLL]
        with event():
            tricks = rows(Animal).get(animal.pk).tricks
            assert [type(trick) for trick in tricks] == [str, str]

    animal.refresh_from_db()
    assert animal.tricks == ["sit", "roll"]


def test_what_was_changed_is_updated_and_not_inserted(
    runner: Runner, rows: Any
) -> None:
    Counter.objects.create(name="a")
    with CaptureQueriesContext(connection) as statements, runner.batch(2) as event:
        for _ in range(2):
            with event():
                rows(Counter).increment("a", count=1)

    assert [sql.split()[0] for sql in changes(statements)] == ["SELECT", "UPDATE"]


def test_rows_are_read_again_in_one_query(runner: Runner, rows: Any) -> None:
    Gauge.objects.bulk_create(Gauge(id=number) for number in range(200))
    with CaptureQueriesContext(connection) as statements, runner.batch(2) as event:
        with event():
            rows(Gauge).filter(pk__in=range(200))
            Counter.objects.create(name="a")
        with event():
            for number in range(200):
                rows(Gauge).get(number)

    about = [sql for sql in changes(statements) if "gauge" in sql]
    assert len(about) == 2


def test_receivers_of_deletions_are_noticed(runner: Runner, rows: Any) -> None:
    def count(**kwargs: Any) -> None:
        Counter.objects.filter(name="a").update(count=9)

    Counter.objects.create(name="a")
    Gauge.objects.create(id=1)
    post_delete.connect(count, sender=Gauge)
    try:
        with runner.batch(2) as event:
            with event():
                rows(Counter).get("a")
                rows(Gauge).delete(1)
            with event():
                rows(Counter).increment("a", count=1)
    finally:
        post_delete.disconnect(count, sender=Gauge)

    assert Counter.objects.get().count == 10


def test_receivers_of_saves_are_called_for_each_event(
    runner: Runner, rows: Any
) -> None:
    saved: list[tuple[int, bool]] = []

    def note(instance: Any, created: bool, **kwargs: Any) -> None:
        saved.append((instance.level, created))

    post_save.connect(note, sender=Gauge)
    try:
        with runner.batch(3) as event:
            with event():
                rows(Gauge).add(Gauge(id=1))
            for level in (1, 2):
                with event():
                    rows(Gauge).get(1).level = level
    finally:
        post_save.disconnect(note, sender=Gauge)

    assert saved == [(0, True), (1, False), (2, False)]


@pytest.mark.parametrize("value", [Decimal("1.004"), "1.00", 1])
def test_a_value_that_comes_to_what_is_there_is_saved(
    runner: Runner, rows: Any, value: Any
) -> None:
    before = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    specimen = Specimen.objects.create(price=Decimal("1.00"))
    Specimen.objects.update(changed=before)
    with runner.batch(2) as event:
        with event():
            rows(Specimen).get(specimen.pk).text = ""
        with event():
            assert rows(Specimen).get(specimen.pk).changed == before
            rows(Specimen).get(specimen.pk).price = value

    specimen.refresh_from_db()
    assert specimen.price == 1 or connection.vendor == "sqlite"
    assert specimen.changed > before


def test_a_duplicate_within_a_savepoint_dooms_nothing(
    runner: Runner, rows: Any
) -> None:
    Counter.objects.create(name="a")
    with runner.batch(1) as event, event():
        with pytest.raises(IntegrityError), transaction.atomic():
            rows(Counter).add(Counter(name="a"))
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            rows(Counter).add(Counter(name="undone"))
            1 / 0  # noqa: B018
        rows(Counter).increment("b", count=1)

    assert sorted(Counter.objects.values_list("name", flat=True)) == ["a", "b"]


def test_the_database_decides_which_row_a_key_finds(runner: Runner, rows: Any) -> None:
    Counter.objects.create(name="Fido")
    same = Counter.objects.filter(name="fido").exists()
    with runner.batch(3) as event:
        with event():
            assert (rows(Counter).get_or_none("fido") is not None) is same
        with event():
            rows(Counter).add(Counter(name="Rex"))
        with event():
            assert (rows(Counter).get_or_none("REX") is not None) is same


def test_a_unique_value_is_handed_on_within_an_event(runner: Runner, rows: Any) -> None:
    Keeper.objects.create(name="Ann")
    Keeper.objects.create(name="Bob", badge="b")
    with runner.batch(1) as event, event():
        taking, giving = rows(Keeper).get("Ann"), rows(Keeper).get("Bob")
        giving.badge = None
        taking.badge = "b"

    assert Keeper.objects.get(badge="b").name == "Ann"


def test_an_exchange_of_unique_values_is_an_error(runner: Runner, rows: Any) -> None:
    Keeper.objects.create(name="Ann", badge="a")
    Keeper.objects.create(name="Bob", badge="b")
    with (
        pytest.raises(IntegrityError, match="exchange unique values"),
        runner.batch(1) as event,
        event(),
    ):
        first, second = rows(Keeper).get("Ann"), rows(Keeper).get("Bob")
        first.badge, second.badge = "b", "a"


def test_a_reference_is_looked_at_when_its_event_ends(
    runner: Runner, rows: Any
) -> None:
    with pytest.raises(IntegrityError), runner.batch(2) as event:
        with event():
            rows(Specimen).add(Specimen(keeper_id="later"))
        with event():
            rows(Keeper).add(Keeper(name="later"))

    assert not Keeper.objects.exists()


def test_a_rule_of_the_database_is_looked_at_when_its_event_ends(
    runner: Runner, rows: Any
) -> None:
    Keeper.objects.create(name="Ann")
    with pytest.raises(IntegrityError), runner.batch(2) as event:
        with event():
            rows(Keeper).get("Ann").rank = 6
        with event():
            rows(Keeper).get("Ann").rank = 1


def test_statements_that_are_not_seen_can_be_told(runner: Runner, rows: Any) -> None:
    Counter.objects.create(name="a")
    with runner.batch(1) as event, event():
        rows(Counter).get("a").count = 1
        runner.view.refresh_rows()
        with runner.view._current.unit.own_statements():
            assert Counter.objects.get().count == 1
            Counter.objects.update(count=7)
        runner.view.refresh_rows()
        assert rows(Counter).get("a").count == 7

    with pytest.raises(transaction.TransactionManagementError):
        runner.view.refresh_rows()


@pytest.mark.parametrize(
    "statement",
    [
        'SELECT * FROM "dog"',
        "SELECT * FROM dog",
        "select * from DOG",
        'SELECT 1 FROM "cat" INNER JOIN "kennel"."hut" ON 1 = 1',
    ],
)
def test_rows_of_the_view_are_not_read_from_a_replica(statement: str) -> None:
    tables = ["dog", 'kennel"."hut']
    wrapper = refuse_statements("View", "default", "replica", lambda: tables)

    with pytest.raises(ViewDatabaseError, match=r"using\('default'\)"):
        wrapper(lambda *a: None, statement, (), False, {})


@pytest.mark.parametrize(
    "statement", ["SELECT 1", 'SELECT * FROM "dogma"', "SELECT n FROM hot_dog_hut"]
)
def test_tables_of_like_names_are_read_from_another_database(statement: str) -> None:
    wrapper = refuse_statements("View", "default", "other", lambda: ["dog", "hut"])

    assert wrapper(lambda *a: 5, statement, (), False, {}) == 5


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cat SET n = 1",
        "/* by a page */ UPDATE cat SET n = 1",
        b"insert INTO cat VALUES (1)",
        "WITH gone AS (DELETE FROM cat RETURNING id) SELECT * FROM gone",
        "-- now\nCALL feed()",
    ],
)
def test_a_write_to_another_database_is_refused_however_it_is_written(
    statement: Any,
) -> None:
    wrapper = refuse_statements("View", "default", "other", list)

    with pytest.raises(ViewDatabaseError, match="cannot hold both"):
        wrapper(lambda *a: None, statement, (), False, {})


def test_rows_of_a_model_that_lies_elsewhere_are_refused(
    runner: Runner, rows: Any, settings: Any
) -> None:
    class Elsewhere:
        def db_for_write(self, model: Any, **hints: Any) -> str | None:
            return "elsewhere" if model is Gauge else None

    settings.DATABASE_ROUTERS = [Elsewhere()]
    with (
        pytest.raises(ViewDatabaseError, match="elsewhere"),
        runner.batch(1) as event,
        event(),
    ):
        rows(Gauge).get_or_none(1)


@pytest.mark.parametrize(
    "use",
    [
        lambda rows: rows.get("a"),
        lambda rows: rows.get_or_none("a"),
        lambda rows: rows.get_or_create("b"),
        lambda rows: rows.add(Counter(name="b")),
        lambda rows: rows.delete("a"),
        lambda rows: rows.delete(Counter(name="a")),
        lambda rows: rows.filter(pk__in=["a"]),
        lambda rows: rows.increment("a", count=1),
        lambda rows: rows.increment("b", count=1),
    ],
)
def test_rows_that_are_kept_beyond_their_transaction_are_refused(
    runner: Runner, rows: Any, use: Any
) -> None:
    Counter.objects.create(name="a")
    with runner.batch(1) as event, event():
        kept = rows(Counter)
        kept.increment("a", count=1)
    with (
        pytest.raises(NotSupportedError, match="transaction that has ended"),
        runner.batch(1) as event,
        event(),
    ):
        use(kept)
    assert Counter.objects.get().count == 1


def test_alone_and_in_a_batch_a_handler_sees_the_same(animal: Animal) -> None:
    view = DjangoTrackingRecorder("projection")
    with view.atomic(Tracking(APP, 1)):
        view.rows(Animal).get(animal.pk).weight = "2.5"  # type: ignore[assignment]
        assert view.rows(Animal).get(UUID(str(animal.pk))).weight == Decimal("2.50")


@pytest.mark.parametrize(
    "use",
    [
        lambda rows: rows.get(None),
        lambda rows: rows.get_or_none(None),
        lambda rows: rows.get_or_create(None, {"name": "b"}),
        lambda rows: rows.increment(None, zone=1),
        lambda rows: rows.delete(None),
    ],
)
def test_rows_are_not_looked_for_by_none_which_many_may_have(
    runner: Runner, rows: Any, use: Any
) -> None:
    Keeper.objects.create(name="a")
    with (
        pytest.raises(NotSupportedError, match="any number of rows may have"),
        runner.batch(1) as event,
        event(),
    ):
        use(rows(Keeper, key="badge"))
