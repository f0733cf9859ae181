"""How long a projection is behind, in a table and on a page."""

from __future__ import annotations

import pytest

from django_esdb.admin import figures
from django_esdb.management.commands import _projection_table as table
from django_esdb.status import ProjectionStatus
from django_esdb.status.lag import Lag


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "-"),
        *((0.0, "0 s"), (0.004, "<1 s"), (1.2, "1 s"), (7_300.0, "2 h")),
        *((1.5 * 86_400, "2 d"), (1.4 * 86_400, "1 d")),
    ],
)
def test_only_who_is_at_the_end_is_nothing_behind(
    seconds: float | None, expected: str
) -> None:
    lag = Lag(seconds=seconds, is_current=True)
    status = ProjectionStatus(projection="Dogs", application="School", lag=lag)

    assert figures.seconds_behind(lag) == expected
    assert table.seconds_behind(status) == expected


def test_what_was_measured_long_ago_is_at_least_so() -> None:
    assert figures.seconds_behind(Lag(seconds=0.5)) == "at least <1 s"


def test_thousands_of_days_are_set_apart_on_a_page() -> None:
    assert figures.duration(86_400 * 1_999.6) == "2,000 d"
