"""The admin's history has each event that is retried or discarded, or it is neither."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import DatabaseError
from django.test import Client

from django_esdb.admin import actions
from django_esdb.models import FailedEvent, ProjectionTracking
from tests.support.failed_events import (
    FAILED,
    TRACKING,
    PickyProjection,
    act,
    said,
    tricks,
)
from tests.support.supervising import tracking

pytestmark = pytest.mark.django_db(transaction=True)


def history(model: type[Any]) -> list[tuple[int, str]]:
    """Return what is told of a model's rows."""
    entries = LogEntry.objects.filter(content_type__model=model._meta.model_name)
    return [(e.action_flag, e.change_message) for e in entries.order_by("pk")]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let the history refuse whatever is written into it."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        msg = "the history is full"
        raise DatabaseError(msg)

    monkeypatch.setattr("django.db.models.query.QuerySet.bulk_create", refuse)
    return monkeypatch


@pytest.mark.any_database
def test_what_fails_again_is_in_the_history(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    act(admin_client, FAILED, "retry", parked[0])

    error = "RuntimeError: cannot burn <b>at all</b>"
    about = f"Retried failed event {parked[0].pk}, {parked[0]}: {error}"
    assert history(FailedEvent) == [(CHANGE, f"Retried: {error}")]
    assert history(ProjectionTracking) == [(CHANGE, about)]


@pytest.mark.any_database
def test_what_is_discarded_is_in_the_history_of_its_projection(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    act(admin_client, FAILED, "discard", *parked, confirmed="yes")

    assert history(FailedEvent) == [(DELETION, "Discarded")] * 3
    assert history(ProjectionTracking) == [
        (CHANGE, f"Discarded failed event {event.pk}, {event}") for event in parked
    ]
    page = admin_client.get(f"{TRACKING}{tracking().pk}/history/").text
    assert f"Discarded failed event {parked[2].pk}, {parked[2]}" in page


@pytest.mark.parametrize(
    "path", [FAILED, pytest.param(TRACKING, marks=pytest.mark.any_database)]
)
def test_nothing_is_retried_that_cannot_be_noted(
    admin_client: Client, parked: list[FailedEvent], broken: Any, path: str
) -> None:
    PickyProjection.bad.clear()
    rows = [tracking()] if path == TRACKING else parked

    page = act(admin_client, path, "retry", *rows)

    assert said(page) == [
        ("error", "Picky: DatabaseError: the history is full"),
    ]
    broken.undo()
    assert FailedEvent.objects.count() == 3
    assert tricks("Fido") == tricks("Rex") == []


def test_nothing_is_discarded_that_cannot_be_noted(
    admin_client: Client, parked: list[FailedEvent], broken: Any
) -> None:
    page = act(admin_client, FAILED, "discard", *parked, confirmed="yes")

    assert said(page) == [
        ("error", "0 discarded, then: DatabaseError: the history is full")
    ]
    broken.undo()
    assert FailedEvent.objects.count() == 3


@pytest.mark.parametrize(
    ("most", "left", "asked"),
    [
        (1, "2 are left", "2 more failed events"),
        pytest.param(
            2, "1 is left", "1 more failed event", marks=pytest.mark.any_database
        ),
    ],
)
def test_a_request_does_a_part_and_asks_for_the_rest(
    admin_client: Client,
    parked: list[FailedEvent],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    left: str,
    asked: str,
) -> None:
    PickyProjection.bad.clear()
    monkeypatch.setattr(actions, "MOST_RETRIED", most)

    page = act(admin_client, TRACKING, "retry", tracking())

    assert said(page) == [
        (
            "warning",
            f"Picky: {most} processed; {left}, which runprojections tries in the "
            "background, but no process runs it: start runprojections",
        )
    ]
    assert FailedEvent.objects.exclude(retry_requested_at=None).count() == 3 - most
    assert history(ProjectionTracking)[-1] == (
        CHANGE,
        f"Asked for {asked} to be retried in the background",
    )


@pytest.mark.any_database
def test_a_request_begins_no_event_when_its_time_is_over(
    admin_client: Client, parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "_PART_OF_DEADLINE", 0)

    page = act(admin_client, FAILED, "retry", *parked)

    [(level, message)] = said(page)
    assert level == "warning"
    assert message.startswith("Picky: 0 processed; 3 are left")
    assert tricks("Rex") == []
