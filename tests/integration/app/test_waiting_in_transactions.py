"""Waiting in tests within a transaction, and with arguments that cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection

from django_esdb import async_wait_for
from django_esdb.db.guards import sees_new_commits
from django_esdb.exceptions import WaitInTransactionError
from django_esdb.models import ProjectionTracking
from django_esdb.recorders.outcomes import WaitResult
from django_esdb.registry import Registration
from django_esdb.waiting import wait_for
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog as DogAggregate
from example_project.training_school.projections import (
    TrainingSchoolProjection,
    TrainingSchoolView,
)

# In a transaction, as in a TestCase.
pytestmark = pytest.mark.django_db

each_form = pytest.mark.parametrize("wait", [wait_for, async_to_sync(async_wait_for)])


@each_form
def test_what_is_processed_in_the_callers_transaction_is_seen(
    school: TrainingSchool, school_projection: Registration, wait: Any
) -> None:
    recordings = school.save(DogAggregate("Fido"))
    ProjectionTracking.objects.create(
        projection=school_projection.name,
        application=school.name,
        position=recordings[-1].notification.id,
    )

    assert wait(TrainingSchoolProjection, recordings, timeout=30)


@each_form
def test_what_the_transaction_cannot_see_is_not_waited_for(
    school: TrainingSchool, school_projection: Registration, wait: Any
) -> None:
    recordings = school.save(DogAggregate("Fido"))

    if sees_new_commits(connection):
        result = wait(TrainingSchoolProjection, recordings, timeout=0.2)
        assert result is WaitResult.TIMED_OUT
        return
    with pytest.raises(WaitInTransactionError, match="within a transaction"):
        wait(TrainingSchoolProjection, recordings, timeout=30)


@each_form
@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (None, TypeError),
        ("1", TypeError),
        (True, TypeError),
        (float("nan"), ValueError),
    ],
)
def test_what_is_no_number_of_seconds_is_refused(
    school_projection: Registration, wait: Any, timeout: Any, error: type[Exception]
) -> None:
    view = TrainingSchoolView()
    view.tracked("TrainingSchool").ensure_row()

    with pytest.raises(error, match="timeout must be a number of seconds"):
        wait(TrainingSchoolProjection, 1, timeout=timeout)
    with pytest.raises(error, match="timeout must be a number of seconds"):
        view.wait("TrainingSchool", 1, timeout=timeout)


@each_form
@pytest.mark.parametrize("projection", [None, 5, object])
def test_what_is_no_projection_is_refused(wait: Any, projection: Any) -> None:
    with pytest.raises(TypeError, match="projection must be a registered projection"):
        wait(projection, 1)


@each_form
@pytest.mark.parametrize("recorded", [None, 1.5, True, "abc", [1], DogAggregate("A")])
def test_what_is_neither_recordings_nor_a_position_is_refused(
    school_projection: Registration, wait: Any, recorded: Any
) -> None:
    with pytest.raises(TypeError, match="recorded must be what save"):
        wait(TrainingSchoolProjection, recorded)
