"""Failed events are left out for good in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from django_esdb.admin import actions, failed_events
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import FailedEvent
from django_esdb.registry import registry
from tests.support.failed_events import (
    FAILED,
    act,
    said,
    text,
    tricks,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_discarding_asks_and_then_leaves_out_for_good(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    first, second, third = parked

    page = act(admin_client, FAILED, "discard", first, third)

    question = text(page)
    assert "The read models will never see these events" in question
    assert "<h2>2 failed events</h2>" in question
    assert str(first) in question
    assert 'method="post"' in question
    assert "csrfmiddlewaretoken" in question
    assert "<script>" not in question.partition('id="content"')[2]
    assert FailedEvent.objects.count() == 3

    page = act(admin_client, FAILED, "discard", first, third, confirmed="yes")

    assert said(page) == [("success", "2 discarded")]
    assert list(FailedEvent.objects.all()) == [second]
    entries = LogEntry.objects.filter(action_flag=DELETION)
    assert {int(entry.object_id) for entry in entries} == {first.pk, third.pk}
    # What waited is the first now.
    assert said(act(admin_client, FAILED, "retry", second)) == [
        ("success", "Picky: 1 processed")
    ]
    assert tricks("Fido") == ["sit"]


@pytest.mark.any_database
def test_what_is_not_registered_can_be_discarded(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    del registry._registry["Picky"]

    page = act(admin_client, FAILED, "discard", *parked, confirmed="yes")

    assert said(page) == [("success", "3 discarded")]
    assert not FailedEvent.objects.exists()


@pytest.mark.any_database
def test_discarding_what_is_gone_says_so(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    FailedEvent.objects.filter(pk=parked[0].pk).delete()

    page = act(admin_client, FAILED, "discard", *parked[:2], confirmed="yes")

    assert said(page) == [("success", "1 discarded")]


def test_a_database_that_fails_is_a_message(
    admin_client: Client, parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = FailedEvent.objects.create(
        projection="Aaa",
        application="App",
        position=1,
        originator_version=1,
        parked_at=timezone.now(),
    )
    discard = actions.discard_selected

    # It has to fail between two projections.
    def discard_one(
        tracked: TrackedProjection, pks: list[int], audit: Any
    ) -> list[FailedEvent]:
        if tracked.projection == "Picky":
            msg = "locked"
            raise OperationalError(msg)
        return discard(tracked, pks, audit)

    monkeypatch.setattr(actions, "discard_selected", discard_one)

    page = act(admin_client, FAILED, "discard", *parked, other, confirmed="yes")

    assert said(page) == [("error", "1 discarded, then: OperationalError: locked")]
    assert FailedEvent.objects.count() == 3
    assert LogEntry.objects.get().object_id == str(other.pk)


@pytest.mark.any_database
def test_no_more_are_discarded_at_once_than_a_form_can_have(
    admin_client: Client, parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_events, "_MOST_DISCARDED", 2)

    page = act(admin_client, FAILED, "discard", *parked, confirmed="yes")

    [(level, message)] = said(page)
    assert level == "error"
    assert message.startswith("At most 2 events can be discarded at once")
    assert FailedEvent.objects.count() == 3


@pytest.mark.any_database
def test_discarding_is_protected_against_other_sites(
    parked: list[FailedEvent], admin_user: User
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    data = {
        "action": "discard",
        "_selected_action": parked[0].pk,
        "confirmed": "yes",
    }

    assert client.post(FAILED, data).status_code == 403
    assert FailedEvent.objects.count() == 3
