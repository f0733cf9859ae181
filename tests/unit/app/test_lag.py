"""How far behind a projection is, from what was measured and what it has processed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_esdb.models import ProjectionLag, ProjectionTracking
from django_esdb.status.lag import Lag, lag_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_esdb.status.lag.timezone.now", lambda: NOW)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def measured(is_running: bool = True, **values: Any) -> Lag:
    """Return the lag of a row at 100, 10 processed, with the head at 200 and 15."""
    tracking = ProjectionTracking(
        pk=1,
        position=values.pop("position", 100),
        processed=values.pop("processed", 10),
        event_time=values.pop("event_time", ago(90)),
    )
    lag = {
        "head": 200,
        "head_time": ago(30),
        "total": 15,
        "is_exact": True,
        "rate": 2.0,
        "speed": 50.0,
        "measured_at": ago(1),
    }
    ProjectionLag(tracking=tracking, **(lag | values))
    return lag_of(tracking, is_running=is_running)


def test_what_was_measured_and_not_processed_since_is_behind() -> None:
    lag = measured()

    assert (lag.head, lag.events, lag.is_exact) == (200, 5, True)
    assert (lag.seconds, lag.rate, lag.eta_seconds) == (60.0, 2.0, 2.5)


def test_what_is_committed_later_is_behind_no_more() -> None:
    assert measured(processed=13).events == 2
    assert measured(processed=13, is_exact=False).events == 2


def test_at_the_head_nothing_is_left() -> None:
    lag = measured(position=200, total=None, is_exact=False)

    assert (lag.events, lag.is_exact, lag.seconds) == (0, True, 0.0)
    assert lag.eta_seconds == 0.0


def test_what_is_not_all_counted_has_its_time_by_positions() -> None:
    lag = measured(is_exact=False)

    assert (lag.events, lag.is_exact, lag.seconds) == (5, False, 60.0)
    assert lag.eta_seconds == 2.0


def test_what_is_known_to_be_left_is_not_nothing_while_more_may_come() -> None:
    lag = measured(is_exact=False, total=10)

    assert (lag.events, lag.is_exact, lag.seconds) == (0, False, 60.0)


@pytest.mark.parametrize(
    "values", [{"measured_at": ago(16)}, {"unknown_since": ago(2)}]
)
def test_what_was_measured_long_ago_is_no_more_than_a_lower_bound(
    values: dict[str, Any],
) -> None:
    lag = measured(**values)

    assert (lag.events, lag.is_exact, lag.is_current) == (5, False, False)
    assert lag.measured_at is not None


def test_a_rate_is_of_one_that_runs() -> None:
    assert (measured(is_running=False).rate, measured(measured_at=ago(61)).rate) == (
        0.0,
        0.0,
    )
    assert measured(is_running=False).eta_seconds is None


def test_what_was_passed_over_counts_as_processed() -> None:
    assert measured(reached_time=ago(40)).seconds == 10.0


def test_clocks_that_differ_make_no_negative_lag() -> None:
    assert measured(event_time=ago(5)).seconds == 0.0


def test_without_times_only_events_are_known() -> None:
    lag = measured(event_time=None)

    assert (lag.events, lag.seconds) == (5, None)


def test_what_was_never_measured_is_not_known() -> None:
    tracking = ProjectionTracking(pk=1, position=3)
    # As a query finds it, which has looked for one.
    tracking._state.fields_cache["lag"] = None

    assert lag_of(tracking, is_running=True) == Lag()


@given(
    total=st.integers(0, 10**6),
    batches=st.lists(st.integers(0, 10**5), max_size=20),
    is_exact=st.booleans(),
)
def test_it_falls_with_each_commit_and_never_below_nothing(
    total: int, batches: list[int], is_exact: bool
) -> None:
    processed, before = 0, total
    for events in batches:
        processed += events
        behind = measured(total=total, processed=processed, is_exact=is_exact).events
        assert behind is not None
        assert 0 <= behind <= before
        assert behind == max(total - processed, 0)
        before = behind
