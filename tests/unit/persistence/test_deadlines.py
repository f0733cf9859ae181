"""One deadline for several calls."""

from __future__ import annotations

import math
from contextvars import copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsourcing_eventstoredb import store_deadline
from eventsourcing_eventstoredb.deadlines import seconds_left

SECONDS = st.floats(0.001, 1e6)


@given(SECONDS, SECONDS, SECONDS)
def test_the_shortest_limit_counts(outer: float, inner: float, own: float) -> None:
    with store_deadline(outer), store_deadline(inner):
        assert seconds_left(own) <= min(outer, inner, own)
        assert seconds_left(own) > min(outer, inner, own) - 1
    assert seconds_left(own) == own


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_a_deadline_lies_ahead(seconds: float) -> None:
    with pytest.raises(ValueError, match="above 0"), store_deadline(seconds):
        pass


def test_it_holds_where_the_context_is_copied_to() -> None:
    with store_deadline(1):
        context = copy_context()

    assert context.run(seconds_left, 60.0) <= 1
    assert seconds_left(60.0) == 60.0
