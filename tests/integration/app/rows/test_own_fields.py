"""Keys and references whose values code of others prepares and reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from tests.support.made_events import made_tables, outcomes

pytestmark = pytest.mark.django_db(transaction=True)


class Lowered(models.CharField):
    """Stores something else than it is given."""

    def get_prep_value(self, value: Any) -> Any:
        prepared = super().get_prep_value(value)
        return prepared if prepared is None else prepared.lower()


@dataclass(frozen=True)
class Label:
    text: str


class Labels(models.CharField):
    """Has objects as its values."""

    def to_python(self, value: Any) -> Any:
        return value if value is None or isinstance(value, Label) else Label(str(value))

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Label(value)

    def get_prep_value(self, value: Any) -> Any:
        return value.text if isinstance(value, Label) else value


class Typed(models.Field):
    """Has a type of the database's."""

    def __init__(self, kind: str = "text", **options: Any) -> None:
        super().__init__(**options)
        self._kind = kind

    def db_type(self, connection: Any) -> str:
        return self._kind


def models_keyed_by(key: models.Field[Any, Any]) -> tuple[Any, Any]:
    """Return a model with this key, and one that refers to it."""
    with isolate_apps("tests.support.rows_app"):

        class Keyed(models.Model):
            code = key
            count = models.IntegerField(default=0)

            class Meta:
                app_label = "rows_app"

        class Referring(models.Model):
            id = models.IntegerField(primary_key=True)
            keyed = models.ForeignKey(Keyed, models.CASCADE, null=True)

            class Meta:
                app_label = "rows_app"

    return Keyed, Referring


def test_a_key_that_is_stored_in_another_form_finds_its_row() -> None:
    keyed, referring = models_keyed_by(Lowered(max_length=10, primary_key=True))

    def look(key: str) -> Any:
        def event(rows: Any) -> None:
            found = rows(keyed).get_or_none(key)
            if found is not None:
                found.count += 1

        return event

    events = [look("AB"), lambda rows: rows(keyed).add(keyed(code="Ab"))]
    with made_tables(keyed, referring):
        found, failed = outcomes(keyed, [*events, look("AB"), look("ab"), look("aB")])
        assert (found, failed) == ([("ab", 3)], set())

        delete = [lambda rows: rows(keyed).delete("AB"), look("ab")]
        assert outcomes(keyed, [*events, *delete]) == ([], set())


@pytest.mark.parametrize(
    ("field", "key", "other"),
    [
        (Lowered(max_length=10, primary_key=True), "ab", "cd"),
        (Labels(max_length=10, primary_key=True), Label("ab"), Label("cd")),
        (models.GenericIPAddressField(primary_key=True), "10.0.0.1", "10.0.0.2"),
    ],
    ids=["lowered", "objects", "addresses"],
)
def test_references_lead_to_keys_of_each_kind(field: Any, key: Any, other: Any) -> None:
    keyed, referring = models_keyed_by(field)

    def add(rows: Any) -> None:
        # The referring rows are asked for first, and written last.
        rows(referring).get_or_none(1)
        rows(keyed).add(keyed(code=key))
        rows(referring).add(referring(id=1, keyed_id=key))

    def go_on(rows: Any) -> None:
        rows(referring).add(referring(id=2, keyed=rows(keyed).get(key)))

    def lead_nowhere(rows: Any) -> None:
        rows(referring).get(2).keyed_id = other

    with made_tables(keyed, referring):
        rows, failed = outcomes(
            referring,
            [add, go_on, lead_nowhere],
            begin=lambda: keyed.objects.all().delete(),
        )
        referring.objects.all().delete()
        keyed.objects.all().delete()

    assert rows == [(1, key), (2, key)]
    assert failed == {3}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only there by a cast")
@pytest.mark.parametrize(
    ("kind", "values", "too_long"),
    [
        ("char(3)", ("abc", "xyz"), "abcd"),
        ("CHARACTER (3)", ("abc", "xyz"), "abcd"),
        ("char(3)[]", (["abc"], ["xyz"]), ["abcd"]),
        ("varchar(3)", ("abc", "xyz"), "abcd"),
        ("bit(4)", ("1010", "0101"), "10101"),
        ("bit varying(4)", ("1010", "01"), "10101"),
    ],
)
def test_values_of_types_with_a_length_are_not_cut_off(
    kind: str, values: tuple[Any, Any], too_long: Any
) -> None:
    with isolate_apps("tests.support.rows_app"):

        class Wrapped(models.Model):
            id = models.IntegerField(primary_key=True)
            value: Any = Typed(kind, null=True)

            class Meta:
                app_label = "rows_app"

    def begin() -> None:
        Wrapped.objects.bulk_create([Wrapped(id=1), Wrapped(id=2)])

    def change(*values: Any) -> Any:
        def change(rows: Any) -> None:
            for key, value in enumerate(values, start=1):
                rows(Wrapped).get(key).value = value

        return change

    events = [change(*values), change(values[1], too_long)]
    with made_tables(Wrapped):
        found, failed = outcomes(Wrapped, events, begin=begin)

    assert (found, failed) == ([(1, values[0]), (2, values[1])], {2})
