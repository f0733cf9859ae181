"""What a random event does: steps, each a tuple of its kind and its arguments."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.support.rows_app.models import Chip, Gauge, Keeper, Permit, Specimen

Step = tuple[Any, ...]
Event = list[Step]
Sampled = dict[type[Any], dict[str, st.SearchStrategy[Any]]]

KEEPERS = ("Ann", "Bob", "Cy", "ann")
SPECIMENS = tuple(uuid.uuid5(uuid.NAMESPACE_URL, str(number)) for number in range(4))
GAUGES = (1, 2, 3)

UTC = datetime.UTC
EAST = datetime.timezone(datetime.timedelta(hours=5))

# What fields may be assigned; some of it no database takes, or not as it is.
VALUES: dict[type[Any], dict[str, tuple[Any, ...]]] = {
    Keeper: {
        "badge": ("a", "b", "A", None),
        "zone": (1, 2, None),
        "desk": (1, 2),
        "rank": (1, 5, 6, "3", -1),
        "notes": ("x", "ä", "", None, "\0"),
    },
    Specimen: {
        "text": ("short", "far too long for it", 5, "ß \U0001f400", "end  "),
        "long_text": ("long", None, "\ud800"),
        "flag": (True, False, 1, "no"),
        "number": (5, "6", True, 2**31, None, 7.0),
        "small": (3, None, 70_000),
        "big": (2**40, -(2**63), 2**63),
        "ratio": (1, 0.1, "2.5", float("nan"), -0.0, 1e300),
        "price": (
            *(Decimal("1.5"), Decimal("0.005"), Decimal("2.345"), 3, "4.10"),
            *(0.1, Decimal("99999.99"), Decimal("NaN")),
        ),
        "day": (
            datetime.date(2026, 2, 3),
            "2026-03-04",
            datetime.datetime(2026, 2, 3, 4, 5, tzinfo=UTC),
            "no day",
        ),
        "moment": (
            datetime.datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC),
            datetime.datetime(2026, 2, 3, 4, 5, tzinfo=EAST),
            None,
        ),
        "hour": (datetime.time(4, 5, 6, 7), "04:05", None),
        "length": (
            datetime.timedelta(days=1, microseconds=5),
            datetime.timedelta(days=-3),
        ),
        "data": (
            [1, "a"],
            {"long key": 1, "b": [2.5, None, True], "a": {"z": 1}},
            (1, 2),
            "text",
            {1: "one"},
            1e16,
            -0.0,
            "\0",
            None,
            [Decimal(1)],
        ),
        "blob": (b"\0\xff", b"", memoryview(b"view")),
        "address": ("::ffff:10.0.0.1", "10.0.0.1", "nonsense", None),
        "keeper_id": (*KEEPERS, "absent", None),
    },
    Chip: {"code": (1, 2, 3)},
    Permit: {
        "number": (1, 2),
        "keeper_id": (*KEEPERS, "absent"),
        "specimen_id": (*SPECIMENS, None),
    },
    Gauge: {"level": (1, 5, 2**40), "width": (2, 3)},
}
KEYS: dict[type[Any], tuple[Any, ...]] = {
    Keeper: KEEPERS,
    Specimen: (*SPECIMENS, str(SPECIMENS[0]), SPECIMENS[1].hex),
    Chip: (*SPECIMENS, str(SPECIMENS[1])),
    Gauge: (*GAUGES, "1"),
}
UNIQUE: dict[type[Any], dict[str, tuple[Any, ...]]] = {
    Keeper: {"badge": ("a", "b", "A")},
    Chip: {"code": (1, 2, 3)},
    Permit: {"specimen_id": SPECIMENS},
}
AMOUNTS: dict[type[Any], dict[str, tuple[Any, ...]]] = {
    Keeper: {"rank": (1, 2, -1)},
    Specimen: {
        "number": (1, -5, 2**31 - 1),
        "price": (Decimal("0.004"), 1),
        "ratio": (0.1,),
        "length": (datetime.timedelta(seconds=1),),
    },
    Gauge: {"level": (1, 2), "width": (1,)},
}


def _by_name(models: Iterable[type[Any]]) -> list[type[Any]]:
    return sorted(models, key=lambda model: model.__name__)


def _sampled(table: dict[type[Any], dict[str, tuple[Any, ...]]]) -> Sampled:
    return {
        model: {name: st.sampled_from(values) for name, values in fields.items()}
        for model, fields in table.items()
    }


# Strategies are made here once: making them takes several times what drawing does.
models = st.sampled_from(_by_name(KEYS))
KEY = {model: st.sampled_from(keys) for model, keys in KEYS.items()}
VALUE, UNIQUE_VALUE, AMOUNT = map(_sampled, (VALUES, UNIQUE, AMOUNTS))
NAMES = {
    model: st.lists(st.sampled_from(sorted(fields)), max_size=2)
    for model, fields in VALUES.items()
}
UNIQUE_MODELS, CHANGED_MODELS = (
    st.sampled_from(_by_name(table)) for table in (UNIQUE, AMOUNTS)
)
UNIQUE_NAMES, CHANGED_NAMES = (
    {model: st.sampled_from(sorted(fields)) for model, fields in table.items()}
    for table in (UNIQUE, AMOUNTS)
)


def as_one(steps: st.SearchStrategy[Step]) -> st.SearchStrategy[Step]:
    """Return steps as one alternative: «one_of» would take in each of theirs."""

    @st.composite
    def one(draw: Any) -> Step:
        step: Step = draw(steps)
        return step

    return one()


def walks_of(
    simple: st.SearchStrategy[Step], savepoint: st.SearchStrategy[Step]
) -> st.SearchStrategy[list[Event]]:
    """Return walks, of events of a few steps, of which some are within savepoints."""
    steps = st.one_of(simple, simple, simple, savepoint)
    event = st.lists(steps, min_size=1, max_size=4)
    return st.lists(event, min_size=1, max_size=14)


def draw_fields(draw: Any, model: type[Any]) -> dict[str, Any]:
    return {name: draw(VALUE[model][name]) for name in draw(NAMES[model])}


@st.composite
def keyed(draw: Any, kind: str, *, has_fields: bool) -> Step:
    model = draw(models)
    key = draw(KEY[model])
    return (kind, model, key, draw_fields(draw, model) if has_fields else {})


@st.composite
def by_value(draw: Any, kind: str) -> Step:
    model = draw(UNIQUE_MODELS)
    name = draw(UNIQUE_NAMES[model])
    value = draw(UNIQUE_VALUE[model][name])
    return (kind, model, name, value, draw_fields(draw, model))


@st.composite
def increments(draw: Any) -> Step:
    model = draw(CHANGED_MODELS)
    name = draw(CHANGED_NAMES[model])
    amount = draw(AMOUNT[model][name])
    return ("increment", model, draw(KEY[model]), {name: amount})


@st.composite
def change_held(draw: Any) -> Step:
    return ("change_held", draw(NUMBER_HELD), draw_fields(draw, Specimen))


NUMBER_HELD = st.integers(0, 3)
SIMPLE = st.one_of(
    keyed("change", has_fields=True),
    keyed("change", has_fields=True),
    keyed("get_or_create", has_fields=True),
    keyed("add", has_fields=True),
    keyed("delete", has_fields=False),
    increments(),
    by_value("change_by"),
    by_value("delete_by"),
    by_value("create_by"),
    change_held(),
    st.tuples(st.just("append"), st.sampled_from(SPECIMENS), st.integers(0, 9)),
    st.tuples(
        st.just("express"), st.sampled_from(GAUGES), st.integers(1, 3), st.booleans()
    ),
    st.tuples(st.just("describe"), models),
    st.tuples(st.just("filter"), st.lists(st.sampled_from(SPECIMENS))),
    st.tuples(
        st.just("permit"),
        st.sampled_from(KEEPERS),
        st.integers(1, 2),
        st.booleans(),
        VALUE[Permit]["specimen_id"],
    ),
    st.tuples(st.just("chip"), st.sampled_from(SPECIMENS), st.integers(1, 3)),
    st.tuples(st.just("swap"), st.sampled_from(KEEPERS), st.sampled_from(KEEPERS)),
    st.tuples(st.just("plain_count"), models),
    keyed("plain_update", has_fields=True),
    keyed("plain_delete", has_fields=False),
    keyed("plain_create", has_fields=True),
    st.tuples(st.just("plain_raise"), models, st.integers(1, 2)),
)


simple = as_one(SIMPLE)
INSIDE = st.lists(simple, min_size=1, max_size=3)


@st.composite
def savepoint(draw: Any) -> Step:
    return ("savepoint", draw(INSIDE), draw(st.booleans()))


events = walks_of(simple, savepoint())
