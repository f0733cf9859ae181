"""Whatever handlers do, rows leave what the plain ORM leaves, in batches, too."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from unittest import mock

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_esdb.db import copied_rows
from tests.support.rows_app import garden, park
from tests.support.rows_app.models import Chip, Gauge, Keeper, Permit, Specimen
from tests.support.walks.further_doing import FurtherDoing, FurtherPlain
from tests.support.walks.further_steps import further_events
from tests.support.walks.garden_doing import GardenDoing
from tests.support.walks.garden_steps import garden_events
from tests.support.walks.running import Clock, Walks
from tests.support.walks.steps import Event, events

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Events fail by the thousand, which need not be logged."""
    logging.getLogger("django_esdb").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("django_esdb").setLevel(logging.NOTSET)


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with mock.patch.object(timezone, "now", clock.read):
        yield clock


@pytest.fixture(params=["inserted", "copied"])
def copied(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have even single rows written as those of large batches are."""
    if request.param == "copied":
        if connection.vendor != "postgresql":
            pytest.skip("only PostgreSQL copies rows")
        monkeypatch.setattr(copied_rows, "FEWEST_ROWS", 1)


sizes_drawn = st.lists(st.integers(1, 6), max_size=4)
drawn_settings = settings(
    suppress_health_check=list(HealthCheck), report_multiple_bugs=False
)


@given(walk=events, sizes=sizes_drawn)
@drawn_settings
def test_rows_leave_what_the_plain_orm_leaves(
    walk: list[Event], sizes: list[int], clock: Clock, copied: None
) -> None:
    walks = Walks((Chip, Permit, Specimen, Keeper, Gauge), clock, unnumbered=(Permit,))
    walks.compare(walk, sizes)


@given(walk=further_events, sizes=sizes_drawn)
@drawn_settings
def test_rows_leave_it_next_to_relations_and_query_sets(
    walk: list[Event], sizes: list[int], clock: Clock, copied: None
) -> None:
    walks = Walks(
        park.WALKED,
        clock,
        FurtherDoing,
        FurtherPlain,
        unnumbered=(park.Seen, park.Crossing, park.Stall.labels.through),
    )
    walks.options["later"] = walks.called.append
    walks.compare(walk, sizes)


@given(walk=garden_events, sizes=sizes_drawn)
@drawn_settings
def test_rows_leave_it_next_to_code_of_models(
    walk: list[Event], sizes: list[int], clock: Clock
) -> None:
    walks = Walks(garden.WALKED, clock, GardenDoing)
    walks.options["later"] = walks.called.append
    walks.compare(walk, sizes)
