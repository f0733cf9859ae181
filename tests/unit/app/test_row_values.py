"""What is known of values and statements without asking a database."""

from __future__ import annotations

import datetime
import json
import threading
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import DateTimeField, F, JSONField

from django_esdb.db.effects import text_of
from django_esdb.recorders.rows.statements import Statement, kind_of
from django_esdb.recorders.rows.values.frozen import Trust, are_same, frozen, thawed
from django_esdb.recorders.rows.values.json_values import JSONValues
from django_esdb.recorders.rows.values.normalising import settler
from django_esdb.recorders.rows.values.unique_values import collated


class _Subclass(str):
    """Of which more may be stored than its text, by an encoder."""

    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        *([], ["a", "b"], ["a", "ä"], [["a"], "b"], "text", 7),
        *(["a", "ä", 1, 2.5, None, True], {"b": {"long": [0.0]}, "a": 1}),
    ],
)
def test_json_of_plain_values_is_given_back_as_it_is(value: Any) -> None:
    kept = JSONValues(JSONField(), is_sorted=False)

    settled, trust = kept.settle(value)

    assert trust is Trust.CERTAIN
    assert kept.thaw(settled) == value
    assert kept.thaw(settled) is not value or not isinstance(value, list | dict)


@pytest.mark.parametrize("hour", [1, 0])
def test_of_an_hour_that_comes_twice_the_database_is_asked(hour: int) -> None:
    berlin: Any = SimpleNamespace(timezone=ZoneInfo("Europe/Berlin"))
    settle = settler(DateTimeField(), berlin)
    assert settle is not None
    moment = datetime.datetime(2026, 10, 25, hour, 30, tzinfo=datetime.UTC)

    _, trust = settle(moment)

    assert trust is (Trust.DOUBTFUL if hour else Trust.CERTAIN)


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1: "one"},
        {"a": {1, 2}},
        ["\0"],
        ["half", "\ud800"],
        "half \ud800",
        ("a", "b"),
        ["a", _Subclass("b")],
        [1e16],
        [-0.0],
        float("nan"),
        [1e-9],
        object(),
        threading.Lock(),
    ],
)
def test_of_other_json_the_database_is_asked(value: Any) -> None:
    assert JSONValues(JSONField(), is_sorted=True).settle(value)[1] is Trust.DOUBTFUL


def test_a_field_with_an_encoder_of_its_own_is_asked_for() -> None:
    field = JSONField(encoder=DjangoJSONEncoder)

    assert JSONValues(field, is_sorted=False).settle([1])[1] is Trust.DOUBTFUL


def test_keys_of_json_objects_come_back_by_length_and_bytes() -> None:
    kept = JSONValues(JSONField(), is_sorted=True)

    settled, _ = kept.settle([{"long": 1, "b": {"zz": 1, "y": 2}, "a": 3}])

    assert json.dumps(kept.thaw(settled)) == (
        '[{"a": 3, "b": {"y": 2, "zz": 1}, "long": 1}]'
    )


@pytest.mark.parametrize(
    "values", [(["a", "b"], ["ab"]), ([], [""]), (["1"], [1]), (["a"], "a")]
)
def test_other_json_is_told_apart(values: tuple[Any, Any]) -> None:
    kept = JSONValues(JSONField(), is_sorted=False)

    assert not are_same([kept.freeze(values[0])], [kept.freeze(values[1])])


def test_nothing_and_expressions_are_kept_as_they_are() -> None:
    kept = JSONValues(JSONField(), is_sorted=False)
    expression = F("other")

    assert kept.freeze(None) is None
    assert kept.freeze(expression) is expression
    assert kept.thaw(expression) is expression


def test_frozen_values_do_not_change_with_what_they_were_made_of() -> None:
    value = {"set": {1, 2}}
    before = frozen(value)
    value["set"].add(3)

    assert thawed(before) == {"set": {1, 2}}
    assert not are_same([before], [frozen(value)])


def test_what_cannot_be_frozen_is_like_nothing_else() -> None:
    lock = threading.Lock()

    assert thawed(frozen(lock)) is lock
    assert not are_same([frozen(lock)], [frozen(lock)])
    assert frozen(F("other")) == F("other")


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ('SELECT COUNT(*) FROM "dog" WHERE "id" IN (%s)', Statement.READ),
        ("SELECT write_something(1)", Statement.WRITE),
        ('SELECT "schema"."call" (1)', Statement.WRITE),
        ("INSERT INTO dog VALUES (1)", Statement.WRITE),
        ("WITH new AS (DELETE FROM dog) SELECT 1", Statement.WRITE),
        ('SAVEPOINT "s1"', Statement.SAVEPOINT),
        ('RELEASE SAVEPOINT "s1"', Statement.RELEASE),
        ('ROLLBACK TO SAVEPOINT "s1"', Statement.ROLLBACK),
    ],
)
def test_what_does_not_only_read_is_a_write(sql: str, kind: Statement) -> None:
    assert kind_of(sql) is kind


def test_statements_are_read_in_whichever_form_they_come() -> None:
    class Composed:
        def as_string(self, connection: Any) -> str:
            return f"SELECT {connection}"

    assert text_of("SELECT 1", None) == "SELECT 1"
    assert text_of(b"SELECT 1", None) == "SELECT 1"
    assert text_of(Composed(), 5) == "SELECT 5"
    assert text_of(7, None) == "7"


def test_texts_that_a_collation_may_take_for_the_same_are_not_told_apart() -> None:
    assert collated("Fido ") == collated("fido")
    assert collated("Fidö") is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SELECT 1; UPDATE dog SET a = 1", Statement.WRITE),
        ("SELECT 1; SELECT 2;", Statement.READ),
        ("EXPLAIN SELECT 1", Statement.READ),
        ("EXPLAIN (ANALYZE) DELETE FROM dog", Statement.WRITE),
        ("/* from a page */ SELECT count(*) FROM dog", Statement.READ),
        ("-- from a page\nROLLBACK TO SAVEPOINT a", Statement.ROLLBACK),
        ("SELECT `bark`()", Statement.WRITE),
        ("SET @a = bark()", Statement.WRITE),
    ],
)
def test_statements_behind_others_are_noticed(text: str, kind: Statement) -> None:
    assert kind_of(text) is kind
