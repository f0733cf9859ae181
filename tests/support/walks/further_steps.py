"""What random events do with relations, query sets and single instances."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from hypothesis import strategies as st

from tests.support.rows_app import park
from tests.support.rows_app.park import (
    TOKENS,
    Kind,
    Label,
    Place,
    Rope,
    Size,
    Stall,
    Ticket,
    Trail,
)
from tests.support.walks.steps import Event, Step, as_one, walks_of

STALLS = ("s1", "s2", "S1")
TRAILS = (1, 2, 3)
LABELS = ("red", "blue", "Red")
PLACES = (1, 2, 3)
TICKETS = (1, 2)

# What fields may be assigned; some of it no database takes, or not as it is.
VALUES: dict[type[Any], dict[str, tuple[Any, ...]]] = {
    Trail: {
        "name": ("trail", "a-b", "not a slug", "far-too-long-a-slug"),
        "length": (1, 5, "6"),
        "parent_id": (*TRAILS, None, 9, "1"),
        "twin_id": (*TRAILS, None),
    },
    Label: {"group": (1, 2, None), "place": (1, None)},
    Stall: {
        "kind": (Kind.BAR, Kind.SHOP, "bar", "kiosk"),
        "size": (Size.LARGE, Size.SMALL, 2, "1"),
        "title": ("A", "a", "b", None),
        "spot": (1, 2, None),
        "low": (0, 5, 12),
        "high": (9, 4, "11"),
        "token": (*TOKENS, str(TOKENS[0]), None),
        "plan": ("a.txt", "", "far/too/long/a/name"),
        "fee": (Decimal("1.25"), 3, "0.1", 12.5),
        "words": (["a", "b"], [], "c  d", ("e",)),
        "seen": (datetime.timedelta(microseconds=-1), None),
        "trail_id": (*TRAILS, "2", None, 9),
    },
    Ticket: {"price": (2, "3"), "stall_id": (*STALLS, None)},
    Rope: {"low": (0, 1), "high": (1, 2, 3)},
    Place: {"name": ("oak", "elm", "Oak"), "seats": (1, 2)},
}
KEYS: dict[type[Any], tuple[Any, ...]] = {
    Trail: (*TRAILS, "1"),
    Label: LABELS,
    Stall: STALLS,
    Ticket: TICKETS,
    Rope: (1, 2, 3),
    Place: PLACES,
}
UNIQUE: dict[type[Any], dict[str, tuple[Any, ...]]] = {
    Trail: {"twin_id": TRAILS},
    Stall: {"token": TOKENS},
    Place: {"name": ("oak", "elm", "Oak")},
}
AMOUNTS: dict[type[Any], tuple[str, ...]] = {
    Trail: ("length",),
    Stall: ("low", "fee"),
    Ticket: ("price",),
    Rope: ("low", "high"),
    Place: ("seats",),
}
if connection.vendor == "postgresql":
    from django.db.backends.postgresql.psycopg_any import (
        DateRange,
        NumericRange,
    )

    VALUES[park.Herb] = {
        "names": (["a"], ["b", "c"], [], ("d",), ["toolong"], [1]),
        "grid": ([[1, 2], [3, 4]], [[1]], None, [[1], [2, 3]]),
        "heights": (NumericRange(1, 3), NumericRange(1, 3, "[]"), (2, 5), None),
        "days": (
            DateRange(datetime.date(2026, 1, 1), datetime.date(2026, 2, 1), "(]"),
            None,
        ),
        "prices": (NumericRange(Decimal("1.50"), None), NumericRange(3, 1)),
        "data": ({"a": [1]}, {}, None),
    }
    KEYS[park.Herb] = (1, 2)
# References that may be assigned as instances, too.
RELATIONS: dict[type[Any], dict[str, type[Any]]] = {
    Trail: {"parent": Trail, "twin": Trail},
    Stall: {"trail": Trail},
    Ticket: {"stall": Stall},
}
# Managers of a row's relations, and to which model they are.
MANAGERS: dict[tuple[type[Any], str], type[Any]] = {
    (Trail, "branches"): Trail,
    (Trail, "stalls"): Stall,
    (Trail, "crossed"): Stall,
    (Stall, "labels"): Label,
    (Stall, "tickets"): Ticket,
    (Stall, "trails"): Trail,
    (Label, "stall_set"): Stall,
}

NAMES_OF = {model: sorted(fields) for model, fields in VALUES.items()}
MODELS = sorted(KEYS, key=lambda model: model.__name__)
model_drawn = st.sampled_from(MODELS)
KEY = {model: st.sampled_from(keys) for model, keys in KEYS.items()}
FIELDS = {
    model: st.lists(st.sampled_from(names), max_size=2)
    for model, names in NAMES_OF.items()
}
VALUE = {
    (model, name): st.sampled_from(values)
    for model, fields in VALUES.items()
    for name, values in fields.items()
}


def draw_fields(draw: Any, model: type[Any]) -> dict[str, Any]:
    return {name: draw(VALUE[model, name]) for name in draw(FIELDS[model])}


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@st.composite
def keyed(draw: Any, *kinds: str) -> Step:
    model = draw(model_drawn)
    kind = draw(st.sampled_from(kinds))
    return (kind, model, draw(KEY[model]), draw_fields(draw, model))


@st.composite
def by_value(draw: Any) -> Step:
    model = draw(one_of(Trail, Stall, Place))
    name = draw(st.sampled_from(sorted(UNIQUE[model])))
    value = draw(st.sampled_from(UNIQUE[model][name]))
    kind = draw(one_of("change_by", "delete_by"))
    return (kind, model, name, value, draw_fields(draw, model))


@st.composite
def increments(draw: Any) -> Step:
    model = draw(st.sampled_from(sorted(AMOUNTS, key=lambda model: model.__name__)))
    name = draw(st.sampled_from(AMOUNTS[model]))
    return ("increment", model, draw(KEY[model]), {name: draw(one_of(1, 2, -1))})


@st.composite
def relates(draw: Any) -> Step:
    """Assign a row to another one's reference."""
    model = draw(one_of(Trail, Stall, Ticket))
    name = draw(st.sampled_from(sorted(RELATIONS[model])))
    target = RELATIONS[model][name]
    way = draw(one_of("rows", "plain", "unsaved", "new"))
    return ("relate", model, draw(KEY[model]), name, target, draw(KEY[target]), way)


@st.composite
def managed(draw: Any) -> Step:
    model, name = draw(
        st.sampled_from(sorted(MANAGERS, key=lambda each: (each[0].__name__, each[1])))
    )
    target = MANAGERS[model, name]
    how = draw(one_of("add", "create", "set", "remove", "clear", "read", "update"))
    keys = draw(st.lists(KEY[target], min_size=1, max_size=2))
    way = draw(one_of("rows", "plain"))
    return ("manage", model, draw(KEY[model]), name, how, keys, way)


@st.composite
def held(draw: Any) -> Step:
    model = draw(model_drawn)
    how = draw(
        st.sampled_from(
            (
                *("save", "save", "update_fields", "force_update", "force_insert"),
                *(
                    "refresh",
                    "refresh_fields",
                    "copy",
                    "other_key",
                    "delete",
                    "nothing",
                ),
                "refresh_deferred",
            )
        )
    )
    first, second = draw_fields(draw, model), draw_fields(draw, model)
    return ("held", model, draw(KEY[model]), how, first, second)


@st.composite
def bulk(draw: Any) -> Step:
    model = draw(model_drawn)
    how = draw(one_of("plain", "ignore", "update"))
    keys = draw(st.lists(KEY[model], min_size=1, max_size=3))
    fields = draw_fields(draw, model)
    if how == "update":
        names = sorted(set(fields)) or NAMES_OF[model][:1]
        return ("bulk_create", model, keys, fields, names)
    return ("bulk_create", model, keys, fields, how == "ignore")


@st.composite
def bulk_updates(draw: Any) -> Step:
    model = draw(model_drawn)
    keys = draw(st.lists(KEY[model], min_size=1, max_size=2))
    way = draw(one_of("rows", "plain"))
    return ("bulk_update", model, keys, draw_fields(draw, model), way)


@st.composite
def asks(draw: Any) -> Step:
    how = draw(
        st.sampled_from(
            (
                *("count", "exists", "aggregate", "values", "iterator", "union"),
                *("in_bulk", "select_for_update", "rows", "rows", "related", "first"),
                *("raw", "dates"),
            )
        )
    )
    return ("ask", draw(model_drawn), how)


@st.composite
def kiosks(draw: Any) -> Step:
    how = draw(
        st.sampled_from(
            (
                *("kiosk", "meadow", "kiosk_update", "kiosk_delete", "kiosk_save"),
                *("old", "old_update", "old_delete", "seat", "seat_update", "promote"),
            )
        )
    )
    return ("kiosk", how, draw(KEY[Place]), draw_fields(draw, Place))


@st.composite
def again(draw: Any) -> Step:
    model = draw(model_drawn)
    way = draw(one_of("rows", "plain"))
    return ("again", model, draw(KEY[model]), draw_fields(draw, model), way)


SIMPLE = st.one_of(
    keyed("change", "get_or_create"),
    keyed("change", "get_or_create"),
    keyed("add", "delete", "plain_delete", "plain_create", "plain_update"),
    keyed("plain_get_or_create", "plain_update_or_create", "deferred", "create_else"),
    by_value(),
    increments(),
    relates(),
    managed(),
    managed(),
    held(),
    held(),
    bulk(),
    bulk_updates(),
    asks(),
    asks(),
    kiosks(),
    again(),
    st.tuples(st.just("update_by"), one_of("case", "subquery", "f", "tree")),
    st.tuples(st.just("look_up"), st.sampled_from(PLACES), st.sampled_from(TICKETS)),
    st.tuples(st.just("later"), st.integers(0, 9)),
    st.tuples(st.just("refused"), one_of("Kiosk", "OldPlace", "Seat", "Numbered")),
)


simple = as_one(SIMPLE)
INSIDE = st.lists(simple, min_size=1, max_size=3)


@st.composite
def savepoint(draw: Any) -> Step:
    inside = draw(INSIDE)
    if draw(st.booleans()):
        inside = [*inside, ("savepoint", draw(INSIDE), draw(st.booleans()))]
    return ("savepoint", inside, draw(st.booleans()))


BEGINNING: Event = [
    ("begin",),
]
further_events: st.SearchStrategy[list[Event]] = walks_of(simple, savepoint()).map(
    lambda walk: [BEGINNING, *walk]
)
