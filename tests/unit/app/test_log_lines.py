"""What the log says of outages, and leaves to the event store's client."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from django.db import OperationalError as DatabaseError
from django.dispatch import Signal
from eventsourcing.persistence import OperationalError

from django_esdb import signals
from django_esdb.exceptions import (
    EventProcessingError,
    LeaseLostError,
    ProjectionError,
    UndecodableEventError,
)
from django_esdb.runner import log_lines
from django_esdb.signals import Sender
from eventsourcing_eventstoredb.exceptions import DisconnectedError
from eventsourcing_eventstoredb.logs import log as write
from eventsourcing_eventstoredb.protocol import outages
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason
from example_project.training_school.projections import TrainingSchoolProjection

if TYPE_CHECKING:
    from eventsourcing_eventstoredb.protocol.access import Access

SECRET = "what-an-event-says"
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


def wrong(log: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in log.records if each.levelno > logging.INFO]


@pytest.mark.parametrize("error", [of_store(), DisconnectedError("it is away")])
def test_outages_of_the_store_are_its_clients_to_warn_of(
    log: pytest.LogCaptureFixture, error: Exception
) -> None:
    interrupted(error)
    interrupted(error, is_first=False)
    recovered()
    interrupted(cannot_begin(), phase="beginning")
    interrupted(error, phase="standing by")

    assert wrong(log) == []
    assert said(log) == [
        "Projection waits for the event store",
        "Projection recovered",
    ]


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
    waits = "Projection waits for the event store"
    interrupted(of_store())
    interrupted(DatabaseError("it is away"), is_first=False)
    recovered()
    interrupted(of_store())
    event_failed(is_first=False)
    recovered()

    assert said(log) == [
        *(waits, "Projection interrupted", "Projection recovered"),
        *(waits, "Event failed", "Projection recovered"),
    ]


# All that projections tell, in which secrets stand for what events say.
CHANGES: list[tuple[Signal, dict[str, Any], str, int]] = [
    (
        signals.projection_started,
        {"position": 7},
        "Projection started: {about} state=running position=7",
        logging.INFO,
    ),
    (
        signals.projection_started,
        {"position": None},
        "Projection started: {about} state=running",
        logging.INFO,
    ),
    (
        signals.projection_stopped,
        {"position": 0},
        "Projection stopped: {about} state=stopped position=0",
        logging.INFO,
    ),
    (
        signals.projection_failed,
        {"error": ProjectionError("it\nfails")},
        "Projection failed: {about} error=it fails",
        logging.ERROR,
    ),
    (
        signals.standing_by,
        {"owner": "h:1", "reason": "", "is_paused": False},
        "Standing by: {about} owner=h:1",
        logging.INFO,
    ),
    (
        signals.standing_by,
        {"owner": "", "reason": "x", "is_paused": True},
        "Projection is paused: {about} error=x",
        logging.WARNING,
    ),
    (
        signals.standing_by,
        {"owner": "", "reason": "x", "is_paused": False},
        "Standing by for a node that is behind: {about} error=x",
        logging.WARNING,
    ),
    (
        signals.projection_recovered,
        {"position": 7},
        "Projection recovered: {about} state=running position=7",
        logging.INFO,
    ),
    (
        signals.projection_paused,
        {"position": 7, "error": EventProcessingError("x")},
        "Projection paused: {about} state=paused position=7 error=x",
        logging.ERROR,
    ),
    (
        signals.lease_lost,
        {"error": LeaseLostError("taken over")},
        "Lease lost: {about} error=taken over",
        logging.WARNING,
    ),
    (
        signals.projection_interrupted,
        {
            "error": DatabaseError(SECRET),
            "phase": "running",
            "seconds": 1.0,
            "is_first": True,
        },
        f"Projection interrupted, trying again: {{about}} error={SECRET}",
        logging.WARNING,
    ),
    (
        signals.event_failed,
        {
            "position": 7,
            "error": UndecodableEventError("x"),
            "failures": 1,
            "retries": 5,
            "seconds": 1.0,
            "is_first": True,
        },
        "Event failed, trying again: {about} position=7 retries=5 error=x",
        logging.WARNING,
    ),
    *(
        (
            signal,
            {
                "position": 7,
                "event": "which",
                "topic": "a:B",
                "originator_id": "an id\n",
                "originator_version": 3,
                "reason": "x",
            },
            f"{text}: {{about}} position=7 topic=a:B originator_id=an id "
            "originator_version=3 error=x",
            logging.ERROR,
        )
        for signal, text in (
            (signals.event_parked, "Event parked"),
            (signals.event_skipped, "Event skipped"),
        )
    ),
]


@pytest.mark.parametrize(("signal", "arguments", "expected", "level"), CHANGES)
def test_each_change_has_a_line_of_keys_and_values(
    log: pytest.LogCaptureFixture,
    signal: Signal,
    arguments: dict[str, Any],
    expected: str,
    level: int,
) -> None:
    SENDER.send(signal, **arguments)

    [record] = log.records
    about = "projection=TrainingSchoolProjection application=TrainingSchool"
    assert record.getMessage() == expected.format(about=about)
    assert record.levelno == level
    # What is in the line is among the attributes as it is, for a formatter.
    plain = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}
    extras = {key: value for key, value in vars(record).items() if key not in plain}
    assert expected.partition(": ")[2].format(about=about) == " ".join(
        f"{key}={value}" for key, value in extras.items()
    )
    assert log_lines.__file__.endswith(record.filename)


def test_nothing_that_an_event_says_is_for_information(
    log: pytest.LogCaptureFixture,
) -> None:
    error = of_store()
    error.args = (SECRET,)
    interrupted(error)
    for signal, arguments, _, level in CHANGES:
        if level == logging.INFO:
            SENDER.send(signal, **arguments)

    assert len(log.records) > 3
    for record in log.records:
        assert SECRET not in str(vars(record))


def test_a_failure_is_not_written_where_no_log_is_configured(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.Logger, "hasHandlers", lambda self: False)

    SENDER.send(signals.projection_failed, error=ProjectionError("x"))

    assert log.records == []


def test_a_traceback_is_an_attribute_too(log: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("django_esdb.runner")

    write(logger, logging.ERROR, "It failed", projection="P", below="line 1\nline 2")

    [record] = log.records
    assert record.getMessage() == "It failed: projection=P\nline 1\nline 2"
    assert vars(record)["traceback"] == "line 1\nline 2"


def test_an_outages_lines_have_attributes(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.set_level(logging.INFO, "eventsourcing_eventstoredb")
    monkeypatch.setattr(outages, "QUIET_SECONDS", 0.0)
    outage = outages.Outage(cast("Access", SimpleNamespace(addresses="a:1")))

    outage.failed(of_store())
    outage.succeeded()

    away, back = map(vars, log.records)
    assert (away["servers"], away["error"]) == ("a:1", "it is away")
    assert back["servers"] == "a:1"
    assert back["seconds"] >= 0
