"""What random events do with models whose own code does more than to keep values."""

from __future__ import annotations

import datetime
from typing import Any

from hypothesis import strategies as st

from tests.support.rows_app.garden import Bed, Ledger, Note, Plant, Row
from tests.support.walks.steps import Event, Step, as_one, walks_of

# What fields may be assigned; some of it no database takes.
VALUES: dict[type[Any], dict[str, tuple[Any, ...]]] = {
    Note: {"number": (1, 2, None)},
    Bed: {"size": (1, 4, "5"), "soil": ("sand", "LOAM"), "plan": ("a.txt", "")},
    Row: {
        "code": ("a", "b", "c"),
        "bed_id": (1, 2, None, 9),
        "after_id": ("a", "b", None, "none"),
        "is_cut": (True, False),
        "height": (1, 7, 60),
        "day": (datetime.date(2026, 1, 1), None),
        "name": ("x", ""),
    },
    Plant: {"bed_id": (1, 2, None), "height": (1, 2, "3")},
    Ledger: {"amount": (1, 5, "7")},
}
KEYS = (1, 2, 3)
MODELS = (Bed, Ledger, Note, Plant, Row)
model_drawn = st.sampled_from(MODELS)
key_drawn = st.sampled_from(KEYS)
FIELDS = {
    model: st.lists(st.sampled_from(sorted(fields)), max_size=2)
    for model, fields in VALUES.items()
}
VALUE = {
    (model, name): st.sampled_from(values)
    for model, fields in VALUES.items()
    for name, values in fields.items()
}
EXPRESSED: dict[type[Any], str] = {
    Bed: "size",
    Row: "height",
    Plant: "height",
    Ledger: "amount",
}
EXPRESSIONS = ("add", "case", "value", "look up", "exists")


def draw_fields(draw: Any, model: type[Any]) -> dict[str, Any]:
    return {name: draw(VALUE[model, name]) for name in draw(FIELDS[model])}


@st.composite
def keyed(draw: Any, *kinds: str) -> Step:
    model = draw(model_drawn)
    kind = draw(st.sampled_from(kinds))
    return (kind, model, draw(key_drawn), draw_fields(draw, model))


@st.composite
def by_code(draw: Any) -> Step:
    kind = draw(st.sampled_from(("change_by", "delete_by")))
    code = draw(st.sampled_from(("a", "b", "none")))
    return (kind, Row, "code", code, draw_fields(draw, Row))


@st.composite
def increments(draw: Any) -> Step:
    model = draw(st.sampled_from((Bed, Ledger, Plant)))
    return (
        "increment",
        model,
        draw(key_drawn),
        {EXPRESSED[model]: draw(st.integers(1, 2))},
    )


@st.composite
def expressed(draw: Any) -> Step:
    """Assign expressions to rows of several models in one event."""
    some = draw(
        st.lists(
            st.tuples(
                st.sampled_from((Bed, Ledger, Plant, Row)),
                key_drawn,
                st.sampled_from(EXPRESSIONS),
            ),
            min_size=1,
            max_size=3,
        )
    )
    return ("expressions", some, draw(st.booleans()))


@st.composite
def held(draw: Any) -> Step:
    model = draw(model_drawn)
    how = draw(
        st.sampled_from(
            (
                *("save", "save", "update_fields", "force_update", "refresh"),
                *("refresh_fields", "delete", "nothing"),
            )
        )
    )
    first, second = draw_fields(draw, model), draw_fields(draw, model)
    return ("held", model, draw(key_drawn), how, first, second)


@st.composite
def raw(draw: Any) -> Step:
    model = draw(model_drawn)
    how = draw(st.sampled_from(("update", "insert", "delete", "many")))
    return ("raw", model, draw(key_drawn), how)


@st.composite
def files(draw: Any) -> Step:
    how = draw(st.sampled_from(("assign", "save", "save alone", "delete", "read")))
    return ("file", draw(key_drawn), how, draw(st.sampled_from(("a.txt", "b.txt"))))


@st.composite
def bulk(draw: Any) -> Step:
    model = draw(st.sampled_from((Bed, Note, Plant)))
    keys = draw(st.lists(key_drawn, min_size=1, max_size=3))
    fields = draw_fields(draw, model)
    how: Any = draw(st.sampled_from(("plain", "ignore", "update")))
    names = sorted(set(fields)) or sorted(VALUES[model])[:1]
    return (
        "bulk_create",
        model,
        keys,
        fields,
        names if how == "update" else how == "ignore",
    )


SIMPLE = st.one_of(
    keyed("change", "get_or_create"),
    keyed("change", "get_or_create"),
    keyed("add", "delete", "plain_delete", "plain_create", "plain_update"),
    keyed("plain_update_or_create", "deferred"),
    by_code(),
    increments(),
    expressed(),
    expressed(),
    held(),
    held(),
    raw(),
    raw(),
    files(),
    bulk(),
    st.tuples(
        st.just("note"), key_drawn, key_drawn, st.sampled_from(("rows", "new", "none"))
    ),
    st.tuples(st.just("note_by_manager"), key_drawn, key_drawn),
    st.tuples(
        st.just("see"),
        model_drawn,
        st.sampled_from(("rows", "in_bulk", "locked", "each")),
    ),
    st.tuples(st.just("later"), st.integers(0, 9)),
)


simple = as_one(SIMPLE)
INSIDE = st.lists(simple, min_size=1, max_size=3)


@st.composite
def savepoint(draw: Any) -> Step:
    return ("savepoint", draw(INSIDE), draw(st.booleans()))


garden_events: st.SearchStrategy[list[Event]] = walks_of(simple, savepoint()).map(
    lambda walk: [[("begin",)], *walk]
)
