"""A second set of tables for models, and rows that move from it to the first."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import InvalidOperation
from unittest import mock
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Max
from django.utils import timezone
from hypothesis import HealthCheck, given, reject, settings

from django_esdb.db.exchanging import Exchange, exchange_rows
from django_esdb.exceptions import ConfigurationError
from django_esdb.rebuilding.beside.tables import (
    SecondSet,
    drop_tables,
    second_name,
    tables_there,
)
from django_esdb.registered_names import BESIDE
from tests.support.rows_app.models import (
    BigOwner,
    Chip,
    Gauge,
    Keeper,
    Lion,
    Medal,
    Owner,
    Pack,
    Permit,
    Specimen,
)
from tests.support.walks.doing import Doing, Plain
from tests.support.walks.running import empty
from tests.support.walks.steps import Event, events

pytestmark = pytest.mark.django_db(transaction=True)

WALKED = (Chip, Permit, Specimen, Keeper, Gauge)
NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


class _Made:
    """A second set whose tables are there."""

    def __init__(self, *read_models: type[models.Model]) -> None:
        self.second = SecondSet(read_models, "default")

    def __enter__(self) -> SecondSet:
        self.second.create()
        return self.second

    def __exit__(self, *error: object) -> None:
        drop_tables("default", self.second.tables)


def exchange(second: SecondSet) -> tuple[int, int]:
    exchanges = [
        Exchange(model, second.first_names[model], second.names[model])
        for model in second.models
    ]
    with transaction.atomic():
        return exchange_rows(connection, exchanges)


def contents(*of: type[models.Model]) -> dict[str, list[str]]:
    found = {}
    for model in of:
        names = [field.attname for field in model._meta.concrete_fields]
        rows = model._default_manager.values_list(*names)
        try:
            found[model.__name__] = sorted(
                repr(tuple(bytes(v) if isinstance(v, memoryview) else v for v in row))
                for row in rows
            )
        except InvalidOperation:
            # SQLite has stored a number that Django cannot read.
            reject()
    return found


def walk_through(walk: list[Event]) -> None:
    """Do what each event does, or nothing of it if it fails."""
    for steps in walk:
        plain = Plain()
        doing = Doing(plain.rows, plain.save, plain.rolled_back)
        try:
            with transaction.atomic():
                doing.do(steps)
                plain.save()
                if transaction.get_rollback():
                    raise transaction.TransactionManagementError
        except Exception:
            continue


@pytest.fixture
def at_noon() -> Iterator[None]:
    with mock.patch.object(timezone, "now", return_value=NOON):
        yield


@pytest.fixture
def walked(at_noon: None, transactional_db: None) -> Iterator[SecondSet]:
    with _Made(*WALKED) as second:
        yield second
    assert not tables_there("default", second.tables)


@given(before=events, after=events)
@settings(suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
def test_rows_become_those_of_the_second_set_whatever_either_has(
    walked: SecondSet, before: list[Event], after: list[Event]
) -> None:
    empty(WALKED)
    walk_through(before)
    old = contents(*WALKED)
    with walked.redirected():
        empty(WALKED)
        walk_through(after)
        new = contents(*WALKED)
    # The site reads what it has read before.
    assert contents(*WALKED) == old

    exchange(walked)

    assert contents(*WALKED) == new
    assert exchange(walked) == (0, 0)
    # Keys that the database chooses come after those that there are.
    last = Permit.objects.aggregate(last=Max("pk"))["last"] or 0
    keeper = Keeper.objects.create(name="new", badge="new")
    assert Permit.objects.create(keeper=keeper, number=9).pk > last


def test_names_many_to_many_fields_and_references_have_second_ones(
    transactional_db: None,
) -> None:
    Owner.objects.create(name="Ann")
    one = Specimen.objects.create(id=UUID(int=1))
    old = Pack.objects.create(title="old", patron_id="Ann")
    old.members.add(one)
    with _Made(Pack, Specimen) as second:
        assert len(second.tables) == 3
        with connection.cursor() as cursor:
            constraints = connection.introspection.get_constraints(
                cursor, second.names[Pack]
            )
        targets = {
            each["foreign_key"][0]
            for each in constraints.values()
            if each["foreign_key"]
        }
        # What is elsewhere can be deleted there, whatever the second set refers to.
        assert targets == {second.names[Pack]}
        is_unique = [each["columns"] for each in constraints.values() if each["unique"]]
        assert ["title"] in is_unique
        assert ["rank", "title"] in is_unique
        with second.redirected():
            assert Pack._meta.db_table.endswith(BESIDE)
            two = Specimen.objects.create(id=UUID(int=2))
            first = Pack.objects.create(title="first", patron_id="Ann")
            second_pack = Pack.objects.create(title="second", rival=first)
            first.rival = second_pack
            first.save()
            first.members.add(two)
            assert list(two.pack_set.all()) == [first]
            with pytest.raises(IntegrityError), transaction.atomic():
                Pack.objects.create(title="third", rank=-1)
        assert list(Pack.objects.all()) == [old]
        assert list(old.members.all()) == [one]

        exchange(second)

    assert list(Pack.objects.order_by("title")) == [first, second_pack]
    assert Pack.objects.get(title="first").rival == second_pack
    assert list(Pack.objects.get(title="first").members.all()) == [two]
    assert list(Specimen.objects.all()) == [two]


@pytest.mark.parametrize("is_missing", [True, False])
def test_rows_that_others_refer_to_have_to_be_there(
    transactional_db: None, is_missing: bool
) -> None:
    old = Pack.objects.create(title="old")
    medal = Medal.objects.create(pack=old)
    with _Made(Pack) as second:
        with second.redirected():
            new = Pack.objects.create(pk=old.pk + is_missing, title="new")
        if is_missing:
            with pytest.raises(IntegrityError):
                exchange(second)
            assert list(Pack.objects.values_list("title", flat=True)) == ["old"]
        else:
            exchange(second)
            assert list(Pack.objects.values_list("title", flat=True)) == ["new"]
            assert Medal.objects.get().pack == new
    assert Medal.objects.get() == medal
    # References are looked at again.
    with pytest.raises(IntegrityError), transaction.atomic():
        Medal.objects.create(pack_id=4711)


def test_rows_that_refer_to_what_is_gone_are_refused(transactional_db: None) -> None:
    with _Made(Pack) as second:
        with second.redirected():
            Pack.objects.create(title="new", patron_id="absent")
        with pytest.raises(IntegrityError):
            exchange(second)
    assert not Pack.objects.exists()


def test_values_that_only_seem_equal_are_exchanged(transactional_db: None) -> None:
    Keeper.objects.create(name="Ann", notes="x", badge="B")
    with _Made(Keeper) as second:
        with second.redirected():
            Keeper.objects.create(name="ANN", notes="X", badge="b")
        assert exchange(second) == (1, 1)
    assert list(Keeper.objects.values_list("name", "notes", "badge")) == [
        ("ANN", "X", "b")
    ]


def test_what_cannot_have_a_second_table_is_refused(transactional_db: None) -> None:
    class Unmanaged(models.Model):
        class Meta:
            app_label = "unmanaged"
            managed = False

    class Quoted(models.Model):
        class Meta:
            app_label = "quoted"
            db_table = 'other"."quoted'

    class Second(models.Model):
        class Meta:
            app_label = "second"
            db_table = f"some{BESIDE}"

    for model, why in (
        (Unmanaged, "not managed"),
        (Quoted, "not a plain name"),
        (Second, "ends with"),
        (Lion, "inherits from rows_app.Owner, which is none"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            SecondSet([model], "default")


def test_models_in_two_tables_and_proxies_have_second_ones(
    transactional_db: None,
) -> None:
    Owner.objects.create(name="Ann")
    Lion.objects.create(name="Leo")
    with _Made(Lion, BigOwner) as second:
        assert second.models == [Lion, Owner]
        with second.redirected():
            Lion.objects.create(name="Lea", mane=False)
            BigOwner.objects.create(name="Bob")
        exchange(second)
    assert sorted(Owner.objects.values_list("name", flat=True)) == ["Bob", "Lea"]
    assert [lion.name for lion in Lion.objects.all()] == ["Lea"]


@pytest.mark.any_database
def test_second_names_are_short_enough_and_apart() -> None:
    assert second_name("school_dog", 63) == "school_dog__beside"
    long = "a" * 60
    names = {second_name(long + end, 63) for end in ("b", "c", "ä")}
    assert len(names) == 3
    assert all(len(name.encode()) <= 63 for name in names)
    assert all(name.endswith(BESIDE) for name in names)


def test_what_was_redirected_is_as_before_when_it_fails(transactional_db: None) -> None:
    before = Pack._meta.db_table, [each.name for each in Pack._meta.constraints]
    second = SecondSet([Pack], "default")
    with pytest.raises(RuntimeError), second.redirected():
        str(Pack.objects.filter(title="x").query)
        raise RuntimeError
    second.definition()
    assert before == (
        Pack._meta.db_table,
        [each.name for each in Pack._meta.constraints],
    )
    assert BESIDE not in str(Pack.objects.filter(title="x").query)
