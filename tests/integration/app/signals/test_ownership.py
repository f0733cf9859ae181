"""Signals of a projection's owners."""

from __future__ import annotations

from typing import Any

import pytest

from django_esdb.db.functions import DatabaseTime
from django_esdb.exceptions import (
    LeaseLostError,
)
from django_esdb.models import ProjectionTracking
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from tests.support.heard_signals import Heard, take_over
from tests.support.supervising import catch_up, running

pytestmark = pytest.mark.django_db(transaction=True)


def test_standing_by_and_taking_over(
    school: TrainingSchool, school_projection: Registration, heard: Heard
) -> None:
    with running(school_projection) as first:
        owner = ProjectionTracking.objects.get().owner
        with running(school_projection):
            assert heard.wait_for("standing_by") == {
                "owner": owner,
                "reason": "",
                "is_paused": False,
            }
            first.end()
            heard.wait_for("projection_started", count=2)

    assert heard.names().count("standing_by") == 1
    assert heard.names().count("projection_stopped") == 2


def test_a_lease_that_is_lost(
    school: TrainingSchool,
    school_projection: Registration,
    heard: Heard,
    settings: Any,
) -> None:
    settings.ESDB_LEASE_SECONDS = 1.5
    with running(school_projection):
        heard.wait_for("projection_started")
        take_over()
        lost = heard.wait_for("lease_lost")
        heard.wait_for("standing_by")

    assert isinstance(lost["error"], LeaseLostError)
    assert heard.of("lease_released") == []
    assert heard.of("standing_by") == [
        {"owner": "other", "reason": "", "is_paused": False}
    ]


def test_a_lease_that_nobody_gave_back(
    school: TrainingSchool, school_projection: Registration, heard: Heard
) -> None:
    catch_up(school_projection)
    ProjectionTracking.objects.update(owner="killed", leased_until=DatabaseTime(-1))

    catch_up(school_projection)

    told = [each["was_abandoned"] for each in heard.of("lease_acquired")]
    assert told == [False, True]
