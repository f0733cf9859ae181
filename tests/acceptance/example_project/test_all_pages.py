"""All pages of the site in a real browser, as each kind of user gets them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import resolve, reverse

from django_esdb.admin import event_reading
from django_esdb.models import StoredEvent
from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.axe import findings
from tests.support.browsers import Browser, needs_browser
from tests.support.dashboards import more_projections
from tests.support.filled_site import Filled, fill
from tests.support.pages import Page, all_pages, labels, page_of, view_names
from tests.support.staff import KINDS, sign_in_as

pytestmark = pytest.mark.any_database

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
# What shows something to users.
CONTENT = "#result_list, #changelist, .esdb-card, fieldset, pre, #content table, dl"
# What differs each time, though the page is the same.
CHANGING = re.compile(r'name="csrfmiddlewaretoken" value="\w+"')
_NOT_ALLOWED = 405

# What is wrong with the looks of a page; most users get the same ones.
_seen: dict[str, list[Any]] = {}


@pytest.fixture
def filled(site_store: EmbeddedServer, transactional_db: None) -> Iterator[Filled]:
    with more_projections():
        yield fill()


def where(page: Page) -> str:
    return f"{page.path} {page.name}".strip()


def go_to(browser: Browser, page: Page) -> None:
    browser.visit(page.path)
    if page.reach is not None:
        page.reach(browser)


def wrong_looks(browser: Browser) -> list[Any]:
    source = CHANGING.sub("", browser.driver.page_source)
    if source not in _seen:
        _seen[source] = list(_wrong_looks(browser))
    return _seen[source]


def _wrong_looks(browser: Browser) -> Iterator[Any]:
    if len(browser.all("h1")) != 1:
        yield "h1", browser.texts("h1")
    for width in WIDTHS:
        browser.resize(width)
        for scheme in SCHEMES:
            browser.prefer(scheme)
            if wide := browser.too_wide(width):
                yield "too wide", width, wide
            is_first = (width, scheme) == (WIDTHS[0], SCHEMES[0])
            if found := findings(browser, of_looks=not is_first):
                yield "axe", width, scheme, found
            if width == WIDTHS[0] and (unseen := browser.without_focus()):
                yield "focus", scheme, unseen


def wrong_with(browser: Browser, page: Page, kind: str) -> Iterator[Any]:
    """Yield what is wrong with a page that a user may see."""
    if page.reach is None and browser.status() != page.status:
        yield "status", browser.status()
    if page.is_part or page.status == _NOT_ALLOWED:
        browser.complaints()
        return
    if (found := labels(browser)) != page.pressed(kind):
        yield "to press", found
    yield from wrong_looks(browser)
    if said := browser.complaints():
        yield "browser", said


def test_no_page_is_left_out(filled: Filled) -> None:
    visited = {resolve(page.path.partition("?")[0]) for page in all_pages(filled)}

    assert {each.view_name for each in visited} == view_names()


def test_who_has_not_logged_in_is_led_to_the_login_page(
    filled: Filled, client: Client
) -> None:
    for page in all_pages(filled):
        response = client.get(page.path)
        if page.needs is None:
            assert response.status_code == page.status, where(page)
        else:
            led = response.headers["location"]
            assert led.startswith(reverse("admin:login")), where(page)


@needs_browser
@pytest.mark.slow("it looks at all pages, in two widths and two schemes")
@pytest.mark.parametrize("kind", KINDS)
def test_pages_can_be_used_by_all_who_may(
    filled: Filled, strict_browser: Browser, kind: str
) -> None:
    browser = strict_browser
    sign_in_as(browser, kind)
    wrong: dict[str, list[Any]] = {}
    for page in all_pages(filled):
        if page.is_for(kind):
            go_to(browser, page)
            if found := list(wrong_with(browser, page, kind)):
                wrong[where(page)] = found
            continue
        # What leads on to it is looked at as a page of its own.
        if page.reach is None:
            browser.visit(page.path)
            if browser.status() != page.refusal or browser.all(CONTENT):
                wrong[where(page)] = [browser.status(), "it shows something"]
            browser.complaints()
    assert wrong == {}


@needs_browser
@pytest.mark.slow("it looks at three pages, in two widths and two schemes")
def test_pages_say_that_the_event_store_is_away(
    filled: Filled,
    strict_browser: Browser,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    browser = strict_browser
    # Nothing listens there.
    settings.ESDB_URI = "esdb://127.0.0.1:1?Tls=false"
    settings.ESDB_WEB_DEADLINE = 1.0
    monkeypatch.setattr(event_reading, "SECONDS", 1.0)
    sign_in_as(browser, "superuser")

    wrong = {}
    for page, status, said in (
        (page_of(StoredEvent, "changelist"), 503, ".errornote[role=alert]"),
        (page_of(type(filled.failing), "change", filled.failing.pk), 200, ".errornote"),
    ):
        browser.visit(page)
        assert browser.status() == status
        assert "cannot be used now" in browser.texts(said)[0]
        wrong[page] = wrong_looks(browser)
    browser.visit(reverse("training_school:register"))
    browser.submit(name="Dora")
    assert browser.texts("h1") == ["Not possible at the moment"]
    wrong["register"] = wrong_looks(browser)
    assert {each: what for each, what in wrong.items() if what} == {}


@needs_browser
def test_name_state_and_lag_come_first_on_a_phone(
    filled: Filled, strict_browser: Browser
) -> None:
    browser = strict_browser
    sign_in_as(browser, "viewer")
    browser.resize(390)

    browser.visit(page_of(type(filled.row("Invoices")), "changelist"))

    heads = browser.all("#result_list thead th:not(.action-checkbox-column)")
    # Above the name is how it is sorted.
    names = [each.text.casefold().splitlines()[-1] for each in heads[:3]]
    assert names == ["projection", "state", "lag"]
    assert heads[2].rect["x"] + heads[2].rect["width"] <= 390
