"""All buttons of the admin: what each does, and who cannot have it done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from django_esdb.models import (
    FailedEvent,
    ProjectionState,
    ProjectionTracking,
    StoredEvent,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.models import Dog
from tests.support.browsers import Browser, needs_browser
from tests.support.dashboards import LONG, more_projections
from tests.support.filled_site import WORKING, Filled, fill
from tests.support.pages import all_pages, operation_page, page_of, press
from tests.support.staff import KINDS, VIEW, make, sign_in, sign_in_as

pytestmark = pytest.mark.any_database

DASHBOARD = reverse("admin:app_list", args=["django_esdb"])
FAILED = page_of(FailedEvent, "changelist")
TRACKING = page_of(ProjectionTracking, "changelist")
# What leads to other pages; the example's forms are sent off in test_browser.
LINKS = {"No, take me back", "Register a dog", "All dogs", "Register", "Add"}


@dataclass(frozen=True, kw_only=True)
class Deed:
    """
    Something that can be done.

    Attributes:
        labels: What is pressed for it, one after the other.
        needs: Which permission it takes.
        page: Where it begins.
        sent: Where that leads to, and what is sent there, without the page.
        of: The projection whose button it is, on a page of several.
        row: Of the list's row that is chosen first.
        is_done: Tells whether it is done.
    """

    labels: tuple[str, ...]
    needs: str
    page: Callable[[Filled], str]
    sent: Callable[[Filled], tuple[str, dict[str, Any]]]
    is_done: Callable[[Filled], bool]
    of: str = ""
    row: Callable[[Filled], Any] | None = None


def operation(
    name: str,
    label: str,
    of: str,
    is_done: Callable[[ProjectionTracking], bool],
    needs: str = "",
) -> Deed:
    return Deed(
        labels=(label, label),
        needs=needs or f"{name}_projectiontracking",
        page=lambda _: DASHBOARD,
        sent=lambda _: (operation_page(name, of), {}),
        is_done=lambda filled: is_done(filled.row(of)),
        of=of,
    )


def action(
    page: str, name: str, label: str, needs: str, row: Callable[[Filled], Any]
) -> Deed:
    def sent(filled: Filled) -> tuple[str, dict[str, Any]]:
        chosen = {"action": name, "_selected_action": [row(filled).pk]}
        return page, {**chosen, "confirmed": "yes"}

    is_discarding = name == "discard"
    return Deed(
        labels=(label, "Go", *(["Yes, discard"] if is_discarding else [])),
        needs=needs,
        page=lambda _: page,
        sent=sent,
        is_done=is_gone,
        row=row,
    )


def is_gone(filled: Filled) -> bool:
    is_there = FailedEvent.objects.filter(pk=filled.working.pk).exists()
    return not is_there


def event_page(filled: Filled) -> str:
    return page_of(FailedEvent, "change", filled.working.pk)


def is_paused(row: ProjectionTracking) -> bool:
    return row.state == ProjectionState.PAUSED


DEEDS = {
    "pause": operation("pause", "Pause", LONG, is_paused),
    "resume": operation(
        "resume", "Resume", "Newsletter", lambda row: not is_paused(row)
    ),
    "retry": operation(
        "retry",
        "Retry",
        "Invoices",
        lambda _: Dog.objects.filter(name=WORKING, tricks=["sit"]).exists(),
        needs="retry_failedevent",
    ),
    "accept": operation(
        "accept", "Accept", "Invoices", lambda row: row.fingerprint != "0" * 64
    ),
    "rebuild": operation(
        "rebuild", "Rebuild", LONG, lambda row: row.rebuild_requested_at is not None
    ),
    "reset": operation(
        "reset",
        "Reset",
        LONG,
        lambda row: row.position is None and not Dog.objects.exists(),
    ),
    "retry an event": Deed(
        labels=("Retry",),
        needs="retry_failedevent",
        page=event_page,
        sent=lambda filled: (page_of(FailedEvent, "retry", filled.working.pk), {}),
        is_done=is_gone,
    ),
    "discard an event": Deed(
        labels=("Discard", "Yes, discard"),
        needs="discard_failedevent",
        page=event_page,
        sent=lambda filled: (
            FAILED,
            {
                "action": "discard",
                "confirmed": "yes",
                "_selected_action": [filled.working.pk],
            },
        ),
        is_done=is_gone,
    ),
    "retry chosen events": action(
        FAILED,
        "retry",
        "Retry selected events",
        "retry_failedevent",
        lambda filled: filled.working,
    ),
    "discard chosen events": action(
        FAILED,
        "discard",
        "Discard selected events",
        "discard_failedevent",
        lambda filled: filled.working,
    ),
    "retry all of a projection": action(
        TRACKING,
        "retry",
        "Retry failed events, and resume if paused",
        "retry_failedevent",
        lambda filled: filled.row("Invoices"),
    ),
}
TRIAL = "What would a retry do?"


@pytest.fixture
def filled(site_store: EmbeddedServer, transactional_db: None) -> Iterator[Filled]:
    with more_projections():
        yield fill()


def everything() -> dict[str, list[Any]]:
    """Return all rows of the projects' tables, and the admin's history."""
    labels = ("django_esdb", "training_school", "showcase")
    found = [
        model
        for label in labels
        for model in apps.get_app_config(label).get_models()
        if model._meta.managed
    ]
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values())
        for model in (*found, LogEntry)
    }


def test_there_is_no_other_button(filled: Filled) -> None:
    shown = {label for page in all_pages(filled) for label in page.presses}
    pressed = {label for deed in DEEDS.values() for label in deed.labels}

    assert shown - LINKS == pressed | {TRIAL}


@needs_browser
@pytest.mark.slow("each goes from page to page in a browser")
@pytest.mark.parametrize("name", DEEDS)
def test_who_has_the_permission_has_it_done(
    filled: Filled, strict_browser: Browser, name: str
) -> None:
    browser, deed = strict_browser, DEEDS[name]
    sign_in(browser, make("allowed", (*VIEW, deed.needs)))
    browser.visit(deed.page(filled))
    labels = list(deed.labels)
    if deed.row is not None:
        [box] = browser.all(f".action-select[value='{deed.row(filled).pk}']")
        box.click()
        [option] = [
            each
            for each in browser.all("select[name=action] option")
            if each.text == labels[0]
        ]
        option.click()
        labels = labels[1:]
    assert not deed.is_done(filled)

    for number, label in enumerate(labels):
        press(browser, label, "" if number else deed.of)

    assert deed.is_done(filled)
    assert len(browser.texts(".messagelist li")) == 1
    assert LogEntry.objects.filter(user__username="allowed").exists()
    assert browser.complaints() == []


@pytest.mark.parametrize("kind", ["visitor", "stranger", "viewer"])
def test_who_does_not_is_refused_also_by_a_request_made_by_hand(
    filled: Filled, client: Client, kind: str
) -> None:
    if kind != "visitor":
        client.force_login(make(kind, KINDS[kind]))
    before = everything()

    for name, deed in DEEDS.items():
        page, data = deed.sent(filled)
        response = client.post(page, data)
        assert everything() == before, name
        if kind == "visitor":
            assert response.status_code == 302
            assert response.headers["location"].startswith(reverse("admin:login"))
        elif kind == "stranger" or page not in (FAILED, TRACKING):
            assert response.status_code == 403, name
        # The lists themselves are the viewer's to see.
    response = client.post(page_of(FailedEvent, "trial", filled.working.pk))
    assert response.status_code == (302 if kind == "visitor" else 403)


@needs_browser
def test_who_may_asks_what_a_retry_would_do_and_nothing_is_done(
    filled: Filled, strict_browser: Browser
) -> None:
    browser = strict_browser
    sign_in(browser, make("allowed", (*VIEW, "debug_failedevent")))
    before = everything()

    for event, heading in (
        (filled.failing, "It would fail again"),
        (filled.working, "It would change 2 rows"),
    ):
        page = page_of(FailedEvent, "change", event.pk)
        browser.visit(page)
        press(browser, TRIAL)
        assert browser.texts("#content h2")[-1] == heading
        browser.follow("Back to the failed event")
        assert browser.driver.current_url == f"{browser.url}{page}"

    assert everything() == before


@needs_browser
def test_the_way_back_does_not_look_like_what_it_is_about(
    filled: Filled, strict_browser: Browser
) -> None:
    browser = strict_browser
    sign_in_as(browser, "operator")
    browser.visit(operation_page("pause", LONG))

    looks = [
        each.value_of_css_property("background-color")
        for each in browser.all("#content [type=submit], #content .cancel-link")
    ]

    assert len(set(looks)) == 2


@needs_browser
def test_stored_events_are_filtered(filled: Filled, strict_browser: Browser) -> None:
    browser = strict_browser
    sign_in_as(browser, "viewer")
    browser.visit(page_of(StoredEvent, "changelist"))
    rows = ".stored-events-results tbody tr"
    assert len(browser.all(rows)) == 4

    browser.submit(stream=str(filled.dog.pk), topic=filled.waiting.topic)

    assert len(browser.all(rows)) == 1
    assert browser.complaints() == []


@needs_browser
def test_an_event_leads_to_what_has_caused_it(
    filled: Filled, strict_browser: Browser
) -> None:
    browser = strict_browser
    sign_in_as(browser, "operator")
    place = {"application": "TrainingSchool", "position": filled.caused}
    browser.visit(page_of(StoredEvent, "event", **place))
    [link] = browser.all(".stored-event a[href*='/cause/']")

    browser.leave_by(link)

    assert browser.driver.current_url.endswith(f"position={filled.failing.position}")
