"""Failed events and paused projections in the admin, shown, retried and protected."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_esdb.exceptions import EventProcessingError
from django_esdb.failures.attempts import Attempts
from django_esdb.models import (
    FailedEvent,
    ProjectionState,
    ProjectionTracking,
    SkippedEvent,
    build_name,
)
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration, registry
from example_project.training_school.application import TrainingSchool
from tests.support.event_stores import EventStore
from tests.support.failed_events import (
    FAILED,
    HOSTILE,
    SECRET,
    TRACKING,
    PickyProjection,
    act,
    said,
    text,
    tricks,
)
from tests.support.supervising import catch_up, tracking

pytestmark = pytest.mark.django_db(transaction=True)


def of_row(entries: Iterable[LogEntry]) -> list[LogEntry]:
    """Return the entries that are about the projection's row."""
    key = ("projectiontracking", str(tracking().pk))
    return [e for e in entries if (e.content_type.model, e.object_id) == key]


# Looking


@pytest.mark.any_database
def test_a_projection_is_shown_with_its_state_and_its_failed_events(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    listed = text(admin_client.get(TRACKING))

    link = f"{FAILED}?projection=Picky&amp;application=TrainingSchool"
    assert f'<a href="{link}">3</a>' in listed
    assert '<td class="field-current_state">Stopped</td>' in listed
    assert "3 failed events are put aside: fix the cause" in listed
    shown = text(admin_client.get(html.unescape(link)))
    assert shown.count('<tr><td class="action-checkbox">') == 3


@pytest.mark.any_database
def test_a_row_says_why_a_projection_is_paused(admin_client: Client) -> None:
    row = ProjectionTracking.objects.create(
        projection="TrainingSchoolProjection",
        application="TrainingSchool",
        state=ProjectionState.PAUSED,
        error="KeyError: '<i>'",
        owner="host:1:scope:random",
    )

    listed = text(admin_client.get(TRACKING))
    shown = text(admin_client.get(f"{TRACKING}{row.pk}/change/"))

    for page in (listed, shown):
        assert "KeyError: &#x27;&lt;i&gt;&#x27;" in page
        assert "run manage.py retryfailedevents TrainingSchoolProjection" in page
    assert ">host:1<" in listed
    assert "host:1:scope:random" in shown


@pytest.mark.any_database
def test_failed_events_are_shown_and_offer_no_change(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    page = f"{FAILED}{parked[0].pk}/change/"
    listed, shown = text(admin_client.get(FAILED)), text(admin_client.get(page))

    for each in (listed, shown):
        assert "RuntimeError: cannot burn &lt;b&gt;at all" in each
        assert parked[0].originator_id in each
        assert "TrickAdded" in each
        assert 'name="_save"' not in each
        assert "deletelink" not in each
    assert listed.count("not tried: an earlier event of its aggregate") == 1
    for path in (f"{FAILED}add/", f"{FAILED}{parked[0].pk}/delete/"):
        assert admin_client.get(path).status_code == 403
    assert admin_client.post(page, {}).status_code == 403


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("waits=yes", [1]),
        ("waits=no", [0, 2]),
        pytest.param("projection=Picky", [0, 1, 2], marks=pytest.mark.any_database),
        pytest.param("projection=Other", [], marks=pytest.mark.any_database),
    ],
)
def test_failed_events_are_filtered(
    admin_client: Client, parked: list[FailedEvent], query: str, expected: list[int]
) -> None:
    page = admin_client.get(f"{FAILED}?{query}")

    assert list(page.context["cl"].queryset) == [parked[index] for index in expected]


def test_hostile_failed_events_do_not_break_a_page(admin_client: Client) -> None:
    event = FailedEvent.objects.create(
        projection="Picky",
        application="TrainingSchool",
        position=1,
        originator_id=HOSTILE,
        originator_version=1,
        topic=HOSTILE,
        error=f"{HOSTILE} esdb://admin:{SECRET}@localhost",
        parked_at=timezone.now(),
    )

    for page in (
        admin_client.get(FAILED),
        admin_client.get(f"{FAILED}{event.pk}/change/"),
        admin_client.get(f"{FAILED}{event.pk}/history/"),
        act(admin_client, FAILED, "retry", event),
        act(admin_client, FAILED, "discard", event),
        act(admin_client, FAILED, "discard", event, confirmed="yes"),
        # Recent actions are there.
        admin_client.get("/admin/"),
    ):
        shown = text(page)
        assert "<script>alert(1)" not in shown
        assert ("&lt;script&gt;" in shown) == (
            said(page) != [("success", "1 discarded")]
        )
        assert SECRET not in shown
        assert "\x1b" not in shown
        assert "\u202e" not in shown


# Retrying


def test_a_whole_projection_is_retried(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    PickyProjection.bad.clear()

    page = act(admin_client, TRACKING, "retry", tracking())

    assert said(page) == [("success", "Picky: 3 processed")]
    assert (tricks("Fido"), tricks("Rex")) == (["burn", "sit"], ["burn"])
    entries = LogEntry.objects.order_by("pk")
    assert {(each.action_flag, each.user.username) for each in entries} == {
        (CHANGE, "admin")
    }
    assert [entry.get_change_message() for entry in of_row(entries)] == [
        f"Retried failed event {event.pk}, {event}: processed" for event in parked
    ]
    assert len(entries) == 6
    assert said(act(admin_client, TRACKING, "retry", tracking())) == [
        ("info", "Picky: 0 processed")
    ]


@pytest.mark.any_database
def test_what_fails_again_is_counted_and_the_first_error_shown(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    page = act(admin_client, TRACKING, "retry", tracking())

    first = parked[0]
    [(level, message)] = said(page)
    assert level == "warning"
    assert message == (
        "Picky: 0 processed, 2 failed again, 1 waits for an earlier one. The first: "
        f"{first.pk} at {first.position}: RuntimeError: cannot burn <b>at all</b>"
    )
    assert "<b>at all" not in text(page)


@pytest.mark.any_database
def test_a_paused_projection_is_resumed(
    admin_client: Client,
    school: TrainingSchool,
    register: Callable[[OnFailure], Registration],
) -> None:
    school.register("Fido")
    school.add_trick("Fido", "burn")
    with pytest.raises(EventProcessingError):
        catch_up(register(OnFailure.STOP))
    assert tracking().state == ProjectionState.PAUSED

    page = act(admin_client, TRACKING, "retry", tracking())

    assert said(page) == [
        ("success", "Picky: 0 processed; it was paused and is resumed")
    ]
    [entry] = of_row(LogEntry.objects.all())
    assert entry.get_change_message() == "Resumed"
    assert (tracking().state, tracking().owner) == (ProjectionState.RETRYING, "")
    # Until an event is processed.
    assert "cannot burn" in tracking().error


def test_selected_events_are_retried_in_order(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    PickyProjection.bad.clear()
    first, second, third = parked

    page = act(admin_client, f"{FAILED}?o=-1", "retry", second, first)

    assert said(page) == [("success", "Picky: 2 processed")]
    assert tricks("Fido") == ["burn", "sit"]
    assert list(FailedEvent.objects.all()) == [third]
    entries = LogEntry.objects.order_by("pk")
    assert len(of_row(entries)) == 2
    own = [entry for entry in entries if entry not in of_row(entries)]
    assert [int(entry.object_id) for entry in own] == [first.pk, second.pk]
    assert {entry.get_change_message() for entry in own} == {"Retried: processed"}


@pytest.mark.any_database
def test_an_event_behind_one_that_is_not_selected_says_so(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    PickyProjection.bad.clear()
    first, second, third = parked

    page = act(admin_client, FAILED, "retry", second, third)

    [(level, message)] = said(page)
    assert level == "warning"
    assert message.startswith(
        "Picky: 1 processed, 1 waits for an earlier one. The first"
    )
    assert f"Failed event {second.pk} waits for {first.pk}" in message
    assert list(FailedEvent.objects.in_order()) == [first, second]
    assert tricks("Rex") == ["burn"]


@pytest.mark.any_database
@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_a_store_that_is_away_is_a_message(
    admin_client: Client,
    parked: list[FailedEvent],
    store: EventStore,
    ends: Callable[[EventStore], None],
    settings: Any,
) -> None:
    ends(store)
    settings.ESDB_WEB_DEADLINE = 1

    for path, row in ((TRACKING, tracking()), (FAILED, parked[0])):
        [(level, message)] = said(act(admin_client, path, "retry", row))
        assert level == "error"
        assert message.startswith("Picky: ")
        assert store.address in message
    assert FailedEvent.objects.count() == 3
    # Nothing was retried.
    assert not LogEntry.objects.exists()


@pytest.mark.any_database
def test_an_application_that_cannot_be_made_is_a_message(
    admin_client: Client, parked: list[FailedEvent], settings: Any
) -> None:
    settings.ESDB_URI = f"esdb://admin:{SECRET}@localhost:x"

    page = act(admin_client, FAILED, "retry", parked[0])

    [(level, message)] = said(page)
    assert level == "error"
    assert "no number where a port" in message
    assert SECRET not in text(page)


@pytest.mark.any_database
def test_what_was_done_before_the_store_went_away_is_told(
    admin_client: Client, parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    PickyProjection.bad.clear()
    retry = Attempts.retry

    # It has to go away between two events.
    def retry_one(self: Any, event: FailedEvent) -> str | None:
        if event.pk == parked[2].pk:
            msg = "gone"
            raise OperationalError(msg)
        return retry(self, event)

    monkeypatch.setattr(Attempts, "retry", retry_one)

    page = act(admin_client, TRACKING, "retry", tracking())

    assert said(page) == [("error", "Picky: 2 processed, then: OperationalError: gone")]
    assert list(FailedEvent.objects.all()) == [parked[2]]


@pytest.mark.any_database
def test_what_is_not_registered_cannot_be_retried(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    del registry._registry["Picky"]

    for path, row in ((TRACKING, tracking()), (FAILED, parked[0])):
        assert said(act(admin_client, path, "retry", row)) == [
            (
                "error",
                "Picky: it is not registered for TrainingSchool and this database, so "
                "nothing can process its events",
            )
        ]
    assert "not registered: it was renamed" in text(admin_client.get(TRACKING))


@pytest.mark.any_database
def test_events_of_a_build_are_said_to_be_tried_after_the_switch(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    FailedEvent.objects.update(projection=build_name("Picky"))

    [(level, line)] = said(act(admin_client, FAILED, "retry", parked[0]))

    assert level == "error"
    assert "its rows are built next to those in use" in line
    assert line.endswith("run manage.py rebuildprojection Picky --beside --restart")
    trial = reverse("admin:django_esdb_failedevent_trial", args=[parked[0].pk])
    assert "its rows are built next to those in use" in text(admin_client.post(trial))


def test_each_event_has_its_own_transaction_whatever_requests_have(
    admin_client: Client,
    parked: list[FailedEvent],
    retries_in_transactions: list[bool],
) -> None:
    PickyProjection.bad.clear()

    page = act(admin_client, FAILED, "retry", *parked)

    assert said(page) == [("success", "Picky: 3 processed")]
    assert retries_in_transactions == [False]


# Permissions


@pytest.mark.any_database
@pytest.mark.parametrize("action", ["retry", "discard"])
def test_an_action_takes_its_own_permission(
    client: Client,
    parked: list[FailedEvent],
    user: Callable[..., User],
    action: str,
) -> None:
    PickyProjection.bad.clear()
    other = {"retry": "discard", "discard": "retry"}[action]
    operator = user(f"{other}_failedevent")
    offer = f'<option value="{action}">'

    assert offer not in text(client.get(FAILED))
    page = act(client, FAILED, action, *parked, confirmed="yes")
    assert said(page) == [("warning", "No action selected.")]
    assert FailedEvent.objects.count() == 3

    permission = Permission.objects.get(codename=f"{action}_failedevent")
    operator.user_permissions.add(permission)
    assert offer in text(client.get(FAILED))
    act(client, FAILED, action, *parked, confirmed="yes")
    assert not FailedEvent.objects.exists()


@pytest.mark.any_database
def test_retrying_a_projection_takes_the_permission(
    client: Client, parked: list[FailedEvent], user: Callable[..., User]
) -> None:
    PickyProjection.bad.clear()
    user("discard_failedevent")

    assert 'name="action"' not in text(client.get(TRACKING))
    act(client, TRACKING, "retry", tracking())

    assert FailedEvent.objects.count() == 3


@pytest.mark.any_database
def test_the_permission_to_act_is_none_to_look(
    client: Client, parked: list[FailedEvent]
) -> None:
    user = User.objects.create_user("other", is_staff=True)
    for codename in ("retry_failedevent", "discard_failedevent"):
        user.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(user)

    for path, row in ((TRACKING, tracking()), (FAILED, parked[0])):
        assert client.get(path).status_code == 403
        assert client.get(f"{path}{row.pk}/change/").status_code == 403
        data = {"action": "retry", "_selected_action": row.pk}
        assert client.post(path, data).status_code == 403
    assert FailedEvent.objects.count() == 3


def test_an_aggregate_is_found(admin_client: Client, parked: list[FailedEvent]) -> None:
    page = admin_client.get(f"{FAILED}?q={parked[2].originator_id}")

    assert list(page.context["cl"].queryset) == [parked[2]]
    page = admin_client.get(f"{FAILED}?q={uuid4()}")
    assert list(page.context["cl"].queryset) == []


@pytest.mark.any_database
def test_skipped_events_are_shown_and_offer_no_change(admin_client: Client) -> None:
    ProjectionTracking.objects.create(projection="Picky", application="School")
    event = SkippedEvent.objects.create(
        projection="Picky",
        application="School",
        position=7,
        originator_id="<b>dog</b>",
        originator_version=2,
        topic="school.domain:Dog.Burnt",
        error="RuntimeError: cannot <i>burn</i>",
        skipped_at=timezone.now(),
    )
    projections = reverse("admin:django_esdb_projectiontracking_changelist")
    listed = reverse("admin:django_esdb_skippedevent_changelist")

    assert (
        f"{listed}?projection=Picky" in admin_client.get(projections).content.decode()
    )
    for page in (
        listed,
        reverse("admin:django_esdb_skippedevent_change", args=[event.pk]),
    ):
        text = admin_client.get(page).content.decode()
        assert "cannot &lt;i&gt;burn&lt;/i&gt;" in text
        assert "<b>dog</b>" not in text
        assert 'name="_save"' not in text
        assert 'name="action"' not in text
