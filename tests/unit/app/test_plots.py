"""Plots of lag and rate: each has its scale, and gaps where nothing was measured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django_esdb.admin.plots import plot
from django_esdb.status.samples import Sample

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def sample(minutes_ago: float, events: int | None, rate: float = 0.0) -> Sample:
    taken_at = NOW - timedelta(minutes=minutes_ago)
    return Sample(taken_at, events, None, rate)


def test_without_samples_there_is_no_plot() -> None:
    assert plot([], NOW) is None


def test_lag_is_an_area_and_rate_a_line() -> None:
    found = plot([sample(1, 10, 5.0), sample(0, 0, 2.5)], NOW)

    assert found is not None
    # An hour is 300 wide; the highest value is at 2, zero at 58.
    assert found.area == "M295 2 L300 58 L300 60 L295 60 Z"
    assert found.line == "M295 2 L300 30"
    assert found.text == "In the last hour at most 10 events behind, at most 5.0/s."


def test_one_sample_can_be_seen() -> None:
    found = plot([sample(30, 4, 12.0)], NOW)

    assert found is not None
    assert found.line == "M150 2 L151 2"


def test_where_nothing_was_measured_is_a_gap() -> None:
    samples = [sample(9, 1), sample(8, 1), sample(5, None), sample(4, 1), sample(1, 1)]

    found = plot(samples, NOW)

    assert found is not None
    assert found.line.count("M") == 3
    assert found.area.count("Z") == 3


def test_of_nothing_all_stays_at_zero() -> None:
    found = plot([sample(2, 0), sample(1, 0)], NOW)

    assert found is not None
    assert found.line == "M290 58 L295 58"
    assert found.text == "In the last hour at most 0 events behind, at most 0/s."


def test_clocks_that_differ_draw_nothing_outside() -> None:
    found = plot([sample(61, 1), sample(-2, 1)], NOW)

    assert found is not None
    assert found.line == "M0 58 L1 58 M300 58 L301 58"
