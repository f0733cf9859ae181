"""Errors with code of their own, and handlers that close what is not theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections
from eventsourcing.persistence import Tracking

from django_esdb.models import FailedEvent
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import SchoolCounts
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.failed_events import tricks
from tests.support.supervising import catch_up, tracking

pytestmark = pytest.mark.django_db(transaction=True)


class FalseError(Exception):
    def __bool__(self) -> bool:
        return False


class TruthlessError(Exception):
    def __bool__(self) -> bool:
        raise RuntimeError


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise SystemExit


class ReservedError(Exception):
    @property
    def __notes__(self) -> list[str]:
        raise SystemExit


class HomelessError(Exception):
    __module__ = None  # type: ignore[assignment]


ERRORS = {
    each.__name__: each
    for each in (
        *(FalseError, TruthlessError, UnspeakableError, ReservedError),
        *(HomelessError, MemoryError, RecursionError),
    )
}


def _close_and_catch() -> None:
    connection.close()
    try:
        SchoolCounts.objects.count()
    except Exception:
        return


def _close_and_ask() -> None:
    connection.close()
    SchoolCounts.objects.count()


CLOSING: dict[str, Callable[[], object]] = {
    # Of the thread that calls it.
    "close": lambda: connection.close(),
    "close all": connections.close_all,
    "close, ask": _close_and_ask,
    "close, ask, catch": _close_and_catch,
}


class HostileProjection(TrainingSchoolProjection):
    """Raises or closes what a trick says, when it has done its work."""

    name = "Hostile"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        trick = getattr(domain_event, "trick", "")
        if trick in ERRORS:
            raise ERRORS[trick]("text")
        CLOSING.get(trick, lambda: None)()


def do(
    school: TrainingSchool, registration: Callable[..., Registration], *names: str
) -> list[str]:
    """Have a projection process these tricks, each of a dog of its own, and others."""
    for name in names:
        school.register(name)
        school.add_trick(name, name)
    school.register("Rex")
    school.add_trick("Rex", "sit")
    catch_up(
        registration(projection_class=HostileProjection, on_failure=OnFailure.PARK)
    )
    assert tracking().error == ""
    assert tricks("Rex") == ["sit"]
    assert [tricks(name) for name in names] == [[]] * len(names)
    assert SchoolCounts.objects.get().tricks == 1
    failed = FailedEvent.objects.in_order().exclude(error="")
    assert all("File" in event.traceback for event in failed)
    return [event.error for event in failed]


@pytest.mark.any_database
def test_errors_with_code_of_their_own_are_failures_of_their_events(
    school: TrainingSchool, registration: Callable[..., Registration]
) -> None:
    assert do(school, registration, *ERRORS) == [
        "FalseError: text",
        "TruthlessError: text",
        "UnspeakableError",
        "ReservedError: text",
        "HomelessError: text",
        "MemoryError: text",
        "RecursionError: text",
    ]


def test_a_handler_that_closes_the_connection_is_told_so(
    school: TrainingSchool, registration: Callable[..., Registration]
) -> None:
    errors = do(school, registration, *CLOSING)

    assert len(errors) == len(CLOSING)
    for error in errors:
        assert error.startswith(
            "TransactionManagementError: The connection was closed within the "
        )
