"""What the log says of outages, and leaves to the event store's client."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import OperationalError as DatabaseError
from eventsourcing.persistence import OperationalError

from django_esdb import signals
from django_esdb.exceptions import EventProcessingError, ProjectionError
from django_esdb.signals import Sender
from eventsourcing_eventstoredb.exceptions import DisconnectedError
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason
from example_project.training_school.projections import TrainingSchoolProjection

SENDER = Sender(TrainingSchoolProjection, "TrainingSchool")


def of_store(reason: Reason = Reason.UNAVAILABLE) -> OperationalError:
    error = OperationalError("it is away")
    error.__cause__ = CallError(reason)
    return error


def cannot_begin() -> ProjectionError:
    error = ProjectionError("it cannot run")
    error.__cause__ = of_store()
    return error


def interrupted(
    error: Exception, *, is_first: bool = True, phase: str = "running"
) -> None:
    SENDER.send(
        signals.projection_interrupted,
        error=error,
        phase=phase,
        seconds=0.5,
        is_first=is_first,
    )


def event_failed(*, is_first: bool) -> None:
    arguments: dict[str, Any] = {"position": 5, "failures": 1, "retries": 5}
    SENDER.send(
        signals.event_failed,
        error=EventProcessingError("it fails"),
        seconds=0.5,
        is_first=is_first,
        **arguments,
    )


def recovered() -> None:
    SENDER.send(signals.projection_recovered, position=None)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "django_esdb.runner")
    return caplog


def said(log: pytest.LogCaptureFixture) -> list[str]:
    return [
        each.getMessage().partition(",")[0].partition(":")[0] for each in log.records
    ]


@pytest.mark.parametrize("error", [of_store(), DisconnectedError("it is away")])
def test_outages_of_the_store_are_its_clients_to_tell(
    log: pytest.LogCaptureFixture, error: Exception
) -> None:
    interrupted(error)
    recovered()
    interrupted(cannot_begin(), phase="beginning")
    interrupted(error, phase="standing by")

    assert said(log) == []


@pytest.mark.parametrize(
    "error",
    [
        DatabaseError("it is away"),
        OperationalError("another kind of store is away"),
        of_store(Reason.CLOSED),
    ],
)
def test_other_outages_are_told_with_their_end(
    log: pytest.LogCaptureFixture, error: Exception
) -> None:
    interrupted(error)
    interrupted(error, is_first=False)
    interrupted(of_store(), is_first=False)
    recovered()

    assert said(log) == ["Projection interrupted", "Projection recovered"]


def test_what_else_goes_wrong_in_an_outage_of_the_store_is_told(
    log: pytest.LogCaptureFixture,
) -> None:
    interrupted(of_store())
    interrupted(DatabaseError("it is away"), is_first=False)
    recovered()
    interrupted(of_store())
    event_failed(is_first=False)
    recovered()

    assert said(log) == [
        *("Projection interrupted", "Projection recovered"),
        *("Event failed", "Projection recovered"),
    ]
