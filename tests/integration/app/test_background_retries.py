"""Requested retries are made by the process that runs the projection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.utils import timezone

from django_esdb.failures import background
from django_esdb.failures.audit import AdminAudit, Audit
from django_esdb.failures.parking import failed_events
from django_esdb.failures.requests import Limits, request_retry, requested_events
from django_esdb.models import FailedEvent
from django_esdb.registry import Registration, registry
from tests.support.event_stores import EventStore
from tests.support.failed_events import PickyProjection, tricks
from tests.support.supervising import running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have as many tried at once as there are, however busy the machine is."""
    monkeypatch.setattr(background, "_SECONDS", 600.0)


@pytest.fixture
def picky(parked: list[FailedEvent]) -> Registration:
    return registry._registry["Picky"]


def ask(picky: Registration, events: list[FailedEvent], user: Any = None) -> None:
    tracked = picky.tracked()
    audit = Audit() if user is None else AdminAudit(user, tracked)
    chosen = failed_events(tracked).filter(pk__in=[e.pk for e in events])
    assert request_retry(audit, chosen) == len(events)


def test_the_projections_process_tries_what_was_asked_for(
    picky: Registration, parked: list[FailedEvent], admin_user: User, settings: Any
) -> None:
    settings.ESDB_LEASE_SECONDS = 0.6
    PickyProjection.bad.clear()

    with running(picky):
        ask(picky, parked, admin_user.pk)
        wait_until(lambda: not FailedEvent.objects.exists())

    assert (tricks("Fido"), tricks("Rex")) == (["burn", "sit"], ["burn"])
    entries = LogEntry.objects.filter(change_message="Retried: processed")
    assert {entry.user for entry in entries} == {admin_user}
    assert len(entries) == 3


def test_each_is_tried_once(picky: Registration, parked: list[FailedEvent]) -> None:
    ask(picky, parked)

    background.retry_requested(picky, lambda: False)

    assert not requested_events(picky.tracked()).exists()
    attempts = FailedEvent.objects.in_order().values_list("attempts", flat=True)
    assert list(attempts) == [2, 0, 2]


@pytest.mark.any_database
def test_what_ends_the_process_is_not_tried_again(
    picky: Registration, parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    class End(BaseException):
        pass

    def end(*args: Any) -> None:
        raise End

    ask(picky, parked)
    monkeypatch.setattr("django_esdb.failures.attempts.Attempts.retry", end)

    with pytest.raises(End):
        background.retry_requested(picky, lambda: False)

    first = FailedEvent.objects.get(pk=parked[0].pk)
    assert first.retry_requested_at is None
    assert FailedEvent.objects.exclude(retry_requested_at=None).count() == 2


@pytest.mark.any_database
def test_what_is_left_stays_asked_for(
    picky: Registration, parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_MOST", 1)
    PickyProjection.bad.clear()
    ask(picky, parked)

    for left in (2, 1, 0):
        assert background.retry_requested(picky, lambda: False) is bool(left)
        assert FailedEvent.objects.count() == left

    assert tricks("Rex") == ["burn"]


@pytest.mark.any_database
def test_stopping_begins_no_other(
    picky: Registration, parked: list[FailedEvent]
) -> None:
    ask(picky, parked)

    background.retry_requested(picky, lambda: True)

    assert FailedEvent.objects.exclude(retry_requested_at=None).count() == 3
    assert not Limits(is_stopping=lambda: True).allow_another()


@pytest.mark.any_database
@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_a_store_that_is_away_leaves_them_asked_for(
    picky: Registration,
    parked: list[FailedEvent],
    store: EventStore,
    ends: Callable[[EventStore], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    ask(picky, parked)
    ends(store)

    background.retry_requested(picky, lambda: False)

    assert "Retry broken off: projection=Picky" in caplog.text
    assert FailedEvent.objects.exclude(retry_requested_at=None).count() >= 2


@pytest.mark.parametrize(
    "user",
    [
        pytest.param("", marks=pytest.mark.any_database),
        "12345678",
        pytest.param("unknown", marks=pytest.mark.any_database),
    ],
)
def test_a_user_who_is_gone_is_no_obstacle(
    picky: Registration, parked: list[FailedEvent], user: str
) -> None:
    PickyProjection.bad.clear()
    FailedEvent.objects.update(
        retry_requested_at=timezone.now(), retry_requested_by=user
    )

    background.retry_requested(picky, lambda: False)

    assert not FailedEvent.objects.exists()
    assert not LogEntry.objects.exists()
