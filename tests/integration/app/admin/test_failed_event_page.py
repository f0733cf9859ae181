"""The page of a failed event: what it shows, to whom, and what can be done there."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from django_esdb.admin import event_reading, failed_event_page, failed_events
from django_esdb.applications.shared import close_applications
from django_esdb.models import FailedEvent, ProjectionTracking
from django_esdb.registry import registry
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from tests.support.failed_events import (
    FAILED,
    PickyProjection,
    many_failed,
    said,
    text,
    tricks,
)

pytestmark = pytest.mark.django_db(transaction=True)


def hide(topic: str, payload: Any) -> Any:
    """Show whose payload it is, and nothing of it."""
    return {"hidden": topic.rpartition(":")[2]}


def fail(topic: str, payload: Any) -> Any:
    """Fail with a text that has the payload in it."""
    raise KeyError(payload)


def say_no_json(topic: str, payload: Any) -> Any:
    """Return what no page can say."""
    return {payload["trick"]}


@pytest.fixture(autouse=True)
def _busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages wait for longer, since tests share the machine."""
    monkeypatch.setattr(event_reading, "SECONDS", 60.0)


def page_of(event: FailedEvent) -> str:
    return f"{FAILED}{event.pk}/change/"


def link(page: str, label: str) -> str:
    found = re.search(rf'<a href="([^"]*)"[^>]*>{re.escape(label)}</a>', page)
    assert found, label
    return unescape(found[1])


def labels(page: str) -> list[str]:
    return re.findall(r'<button type="submit"[^>]*>(.*?)</button>', page)[1:]


@pytest.mark.any_database
def test_a_page_leads_to_what_its_event_is_about(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    first, second, _ = parked

    page = text(admin_client.get(page_of(first)))

    projection = text(admin_client.get(link(page, "Picky")))
    assert "/projectiontracking/" in link(page, "Picky")
    assert "3 failed events are put aside" in projection
    stored = text(admin_client.get(link(page, str(first.position))))
    assert "&quot;trick&quot;: &quot;burn&quot;" in stored
    events = text(admin_client.get(link(page, first.originator_id)))
    assert events.count("Dog.TrickAdded</a>") == 2
    assert "Fido" in text(admin_client.get(link(page, "dog: Fido")))
    # What waits behind it, and the other way round.
    assert "Waiting behind it: 1" in page
    behind = text(admin_client.get(FAILED + link(page, str(second)).lstrip("./")))
    assert "Waits behind" in behind
    assert link(behind, str(first)) == f"../../{first.pk}/change/"
    assert "Waiting behind it: 0" in behind


@pytest.mark.any_database
def test_links_are_for_those_who_may_follow_them(
    client: Client, parked: list[FailedEvent], user: Callable[..., User]
) -> None:
    user("view_storedevent")
    page = text(client.get(page_of(parked[0])))
    assert "/storedevent/" in page
    assert "dog: Fido" not in page
    client.logout()
    User.objects.all().delete()

    user()
    assert "/storedevent/" not in text(client.get(page_of(parked[0])))


def test_only_some_of_many_that_wait_are_shown(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_event_page, "_MOST_COUNTED", 12)
    many_failed(14, originator_id="Rex")
    many_failed(1, originator_id="rex")
    first = FailedEvent.objects.get(position=0)
    ProjectionTracking.objects.create(projection="Picky", application="TrainingSchool")

    page = text(admin_client.get(page_of(first)))

    assert "Waiting behind it: more than 12" in page
    waiting = page.partition('id="waiting"')[2]
    assert waiting.count("of Rex at") == failed_event_page._MOST_SHOWN
    listed = admin_client.get(link(page, "All failed events of the aggregate"))
    positions = [e.position for e in listed.context["cl"].result_list]
    assert positions[:14] == [*range(14)]


@pytest.mark.any_database
def test_payloads_take_a_permission(
    client: Client, parked: list[FailedEvent], user: Callable[..., User]
) -> None:
    user()
    page = text(client.get(page_of(parked[1])))
    assert "You may not see what it says" in page
    assert "&quot;sit&quot;" not in page
    client.logout()
    User.objects.all().delete()

    user("view_payload")
    assert "&quot;trick&quot;: &quot;sit&quot;" in text(client.get(page_of(parked[1])))


@pytest.mark.any_database
def test_a_function_says_what_is_shown_of_payloads(
    admin_client: Client, parked: list[FailedEvent], settings: Any
) -> None:
    settings.ESDB_PAYLOAD_REDACTION = f"{__name__}.hide"

    page = text(admin_client.get(page_of(parked[1])))

    assert "&quot;hidden&quot;: &quot;Dog.TrickAdded&quot;" in page
    assert "&quot;sit&quot;" not in page
    stored = text(admin_client.get(link(page, str(parked[1].position))))
    assert "&quot;hidden&quot;" in stored
    assert "&quot;sit&quot;" not in stored


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"{__name__}.fail", "KeyError"),
        (f"{__name__}.say_no_json", "TypeError"),
        ("no.such.function", "ConfigurationError"),
        (7, "ConfigurationError"),
    ],
)
def test_nothing_is_shown_where_that_function_fails(
    admin_client: Client,
    parked: list[FailedEvent],
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    name: Any,
    reason: str,
) -> None:
    settings.ESDB_PAYLOAD_REDACTION = name
    caplog.clear()

    page = text(admin_client.get(page_of(parked[1])))
    stored = text(admin_client.get(link(page, str(parked[1].position))))

    for each in (page, stored):
        assert f"ESDB_PAYLOAD_REDACTION has failed: {reason}" in each
        assert "&quot;sit&quot;" not in each
        assert "timestamp" not in each
    assert "Payload not shown" in caplog.text
    assert "sit" not in caplog.text


@pytest.mark.any_database
@pytest.mark.own_store("it stops it")
def test_a_store_that_is_away_is_said(
    admin_client: Client,
    parked: list[FailedEvent],
    server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_reading, "SECONDS", 0.5)
    server.stop()

    page = text(admin_client.get(page_of(parked[0])))

    assert "The event store cannot be used now" in page
    assert "RuntimeError: cannot burn" in page
    assert labels(page) == ["What would a retry do?", "Retry", "Discard"]


@pytest.mark.any_database
def test_another_event_at_the_same_position_is_not_shown(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    FailedEvent.objects.filter(pk=parked[0].pk).update(originator_version=7)

    page = text(admin_client.get(page_of(parked[0])))

    assert "It is not in the event store any more." in page
    assert "&quot;burn&quot;" not in page


@pytest.mark.any_database
def test_what_no_code_is_left_for_has_a_page(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    registry.unregister("Picky")
    FailedEvent.objects.update(application="Gone")

    assert "There is no such application." in text(admin_client.get(page_of(parked[0])))


@pytest.mark.any_database
def test_one_is_retried_from_its_page(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    first, second, _ = parked
    retry = f"{FAILED}{first.pk}/retry/"
    assert f'action="{retry}"' in text(admin_client.get(page_of(first)))

    page = admin_client.post(retry, follow=True)
    assert page.redirect_chain == [(page_of(first), 302)]
    [(level, message)] = said(page)
    assert level == "warning"
    assert "RuntimeError: cannot burn" in message
    entries = LogEntry.objects.filter(object_id=str(first.pk))
    assert [each.change_message for each in entries] == [
        "Retried: RuntimeError: cannot burn <b>at all</b>"
    ]

    PickyProjection.bad.clear()
    page = admin_client.post(retry, follow=True)
    assert page.redirect_chain == [(f"{FAILED}?projection=Picky", 302)]
    assert said(page) == [("success", "Picky: 1 processed")]
    assert tricks("Fido") == ["burn"]
    page = admin_client.post(retry, follow=True)
    assert said(page) == [("warning", f"There is no failed event {first.pk} any more.")]
    assert FailedEvent.objects.filter(pk=second.pk).exists()


def test_a_retry_has_its_own_transaction_whatever_requests_have(
    admin_client: Client,
    parked: list[FailedEvent],
    retries_in_transactions: list[bool],
) -> None:
    admin_client.post(f"{FAILED}{parked[0].pk}/retry/")

    assert retries_in_transactions == [False]


@pytest.mark.any_database
def test_one_is_discarded_from_its_page_after_asking(
    admin_client: Client, parked: list[FailedEvent]
) -> None:
    page = text(admin_client.get(page_of(parked[0])))
    (form,) = re.findall(
        rf'<form method="post" action="{FAILED}">(.*?)</form>', page, re.DOTALL
    )
    fields = dict(re.findall(r'name="(.*?)" value="(.*?)"', form))

    question = admin_client.post(FAILED, fields)

    assert "1 failed event" in text(question)
    assert FailedEvent.objects.count() == 3
    admin_client.post(FAILED, fields | {"confirmed": "yes"})
    assert FailedEvent.objects.count() == 2


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("codename", "expected"),
    [
        ("retry_failedevent", ["Retry"]),
        ("discard_failedevent", ["Discard"]),
        ("debug_failedevent", ["What would a retry do?"]),
    ],
)
def test_buttons_take_a_permission_each(
    client: Client,
    parked: list[FailedEvent],
    user: Callable[..., User],
    codename: str,
    expected: list[str],
) -> None:
    user(codename)

    assert labels(text(client.get(page_of(parked[0])))) == expected
    retry = f"{FAILED}{parked[0].pk}/retry/"
    assert client.get(retry).status_code == 405
    answered = client.post(retry).status_code
    assert answered == (302 if codename == "retry_failedevent" else 403)
    if codename == "retry_failedevent":
        fields = {"action": "discard", "_selected_action": parked[0].pk}
        client.post(FAILED, fields | {"confirmed": "yes"})
    assert FailedEvent.objects.count() == 3


@pytest.mark.any_database
def test_buttons_are_no_way_round_the_permission_to_view(
    client: Client, parked: list[FailedEvent], user: Callable[..., User]
) -> None:
    operator = user("retry_failedevent")
    operator.user_permissions.remove(
        operator.user_permissions.get(codename="view_failedevent")
    )

    assert client.post(f"{FAILED}{parked[0].pk}/retry/").status_code == 403
    assert not LogEntry.objects.exists()


@pytest.mark.any_database
def test_more_buttons_can_be_added(
    admin_client: Client, parked: list[FailedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = failed_events.FailedEventAdmin.buttons

    def buttons(self: Any, request: Any, event: Any) -> Any:
        more = failed_event_page.PageButton("Look up", "/elsewhere/", None)
        return [*usual(self, request, event), more]

    monkeypatch.setattr(failed_events.FailedEventAdmin, "buttons", buttons)

    page = text(admin_client.get(page_of(parked[0])))

    assert link(page, "Look up") == "/elsewhere/"


@pytest.mark.any_database
def test_events_on_other_stores_are_shown_as_well(
    admin_client: Client, settings: Any
) -> None:
    close_applications()
    settings.ESDB_ENV = {"PERSISTENCE_MODULE": "eventsourcing.popo"}
    from django_esdb import get_application

    school = get_application(TrainingSchool)
    school.register("Fido")
    school.add_trick("Fido", "sit")
    (notification,) = school.recorder.select_notifications(2, 1)
    many_failed(
        1,
        position=2,
        originator_id=str(notification.originator_id),
        originator_version=notification.originator_version,
    )

    page = text(admin_client.get(page_of(FailedEvent.objects.get())))
    close_applications()

    assert "&quot;trick&quot;: &quot;sit&quot;" in page
