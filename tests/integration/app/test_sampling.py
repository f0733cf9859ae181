"""Each minute of the last hour has a sample of a projection, and no other minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import SAMPLES, ProjectionSample, ProjectionTracking
from django_esdb.runner.lag.sampling import Sampling

pytestmark = pytest.mark.django_db

TRACKED = TrackedProjection("default", "P", "A")
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def note(sampling: Sampling, seconds: float, total: int, rate: float = 0.0) -> None:
    row = ProjectionTracking.objects.select_related("lag").get()
    now = NOON + timedelta(seconds=seconds)
    measured = {"head": 9, "total": total, "rate": rate, "measured_at": now}
    sampling.note(TRACKED, row, measured, now)


@pytest.fixture(autouse=True)
def _row() -> None:
    ProjectionTracking.objects.create(projection="P", application="A", processed=2)


def test_a_minute_has_one_sample() -> None:
    sampling = Sampling()

    note(sampling, 0, 12)
    note(sampling, 59, 13)
    note(sampling, 60, 14)

    samples = ProjectionSample.objects.order_by("taken_at")
    assert [each.events for each in samples] == [10, 12]


def test_processes_that_measure_at_once_share_it() -> None:
    note(Sampling(), 1, 12)
    note(Sampling(), 2, 15)

    assert ProjectionSample.objects.get().events == 13


def test_after_an_hour_it_goes_round() -> None:
    sampling = Sampling()

    for minute in range(SAMPLES + 5):
        note(sampling, 60 * minute, 2 + minute)

    samples = ProjectionSample.objects.order_by("taken_at")
    assert [each.events for each in samples] == list(range(5, SAMPLES + 5))


def test_it_goes_with_its_projection() -> None:
    note(Sampling(), 0, 12)

    ProjectionTracking.objects.all().delete()

    assert not ProjectionSample.objects.exists()
