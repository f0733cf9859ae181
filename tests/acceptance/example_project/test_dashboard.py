"""The dashboard in a real browser: what its buttons and its script do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.urls import reverse

from django_esdb.admin import dashboard
from django_esdb.models import ProjectionTracking
from django_esdb.status import ProjectionStatus, projection_statuses
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.browsers import Browser, needs_browser
from tests.support.dashboards import LONG, NAMES, fill, more_projections
from tests.support.staff import sign_in_as

pytestmark = [needs_browser, pytest.mark.any_database]

DASHBOARD = "/admin/django_esdb/"
NAME = TrainingSchoolProjection.name
# As if a user looked at the page again.
LOOK = "document.dispatchEvent(new Event('visibilitychange'))"


@pytest.fixture
def browser(strict_browser: Browser) -> Iterator[Browser]:
    with more_projections():
        fill(lasts=timedelta(hours=1))
        yield strict_browser


def operation(name: str, projection: str) -> str:
    return reverse(
        "admin:django_esdb_projectiontracking_operation", args=[name, projection]
    )


def fail() -> list[ProjectionStatus]:
    msg = "out of order"
    raise RuntimeError(msg)


def card(browser: Browser, name: str) -> str:
    """Return what the dashboard says about a projection; at once, for it may change."""
    found = browser.driver.execute_script(
        "return [...document.querySelectorAll('.esdb-card')].map((card) =>"
        " [card.querySelector('h3').title, card.innerText])"
    )
    return dict(found)[name]


def buttons(browser: Browser, name: str) -> list[str]:
    links = browser.all(f".esdb-buttons a[href$='/{name}/']")
    # The rest is for screen readers.
    return [each.text.partition(":")[0].strip() for each in links]


@pytest.mark.slow("it goes to and fro between a dozen pages in a browser")
def test_each_button_leads_to_a_page_that_does_what_it_says(browser: Browser) -> None:
    sign_in_as(browser, "superuser")

    def press(label: str, name: str) -> str:
        browser.visit(DASHBOARD)
        [link] = [
            each
            for each in browser.all(f".esdb-buttons a[href$='/{name}/']")
            if each.text.startswith(label)
        ]
        browser.leave_by(link)
        assert browser.texts("h1") == [f"{label}: {name}"]
        [button] = browser.all("#content [type=submit]")
        browser.leave_by(button)
        assert browser.driver.current_url == f"{browser.url}{DASHBOARD}"
        [message] = browser.texts(".messagelist li")
        return message

    browser.visit(DASHBOARD)
    assert buttons(browser, NAME) == ["Pause", "Rebuild", "Reset"]
    assert press("Pause", NAME) == f"{NAME} is paused."
    assert "Paused" in card(browser, NAME)
    assert buttons(browser, NAME) == ["Resume", "Rebuild", "Reset"]
    assert press("Resume", NAME) == f"{NAME} is resumed."
    assert "Paused" not in card(browser, NAME)
    # Its events are not in this store.
    assert press("Retry", "Invoices").startswith("Invoices: ")
    assert "rebuild advised" in card(browser, "Invoices")
    assert press("Accept", "Invoices").endswith("the definition of today is accepted.")
    assert "rebuild advised" not in card(browser, "Invoices")
    assert press("Rebuild", LONG) == f"{LONG} is rebuilt in the background."
    assert press("Reset", NAME).startswith(f"{NAME} starts over; ")
    assert "Behind\n-" in card(browser, NAME)

    browser.visit(operation("pause", LONG))
    browser.follow("No, take me back")
    assert browser.driver.current_url == f"{browser.url}{DASHBOARD}"
    assert "Running" in card(browser, LONG)


def test_figures_change_and_what_is_focused_stays_so(browser: Browser) -> None:
    sign_in_as(browser, "viewer")
    browser.visit(DASHBOARD)
    focus = "document.activeElement.textContent"
    browser.driver.execute_script("document.querySelector('.esdb-card a').focus()")
    assert browser.driver.execute_script(f"return {focus}") == NAME
    assert "0 events" in card(browser, NAME)
    browser.driver.execute_script("window.isSamePage = true")

    ProjectionTracking.objects.filter(projection=NAME).update(
        position=184_000,
        processed=184_000,
        state="paused",
        leased_until=None,
        error="out of biscuits",
    )
    browser.driver.execute_script(LOOK)

    browser.wait_until(lambda: "213 events" in card(browser, NAME))
    assert "Paused" in card(browser, NAME)
    assert "out of biscuits" in card(browser, NAME)
    assert browser.driver.execute_script(f"return {focus}") == NAME
    assert browser.driver.execute_script("return window.isSamePage")


def test_old_figures_are_told_of(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in_as(browser, "viewer")
    browser.visit(DASHBOARD)
    assert browser.texts(".esdb-message") == [""]

    with monkeypatch.context() as patch:
        patch.setattr(dashboard, "projection_statuses", fail)
        browser.driver.execute_script(LOOK)
        message = "These figures are old: the site does not answer. It is asked again."
        browser.wait_until(lambda: browser.texts(".esdb-message") == [message])
        # What was there is still there.
        assert "0 events" in card(browser, NAME)

    browser.driver.execute_script(LOOK)
    browser.wait_until(lambda: browser.texts(".esdb-message") == [""])

    Session.objects.all().delete()
    browser.driver.execute_script(LOOK)
    browser.wait_until(
        lambda: "not logged in any more" in browser.texts(".esdb-message")[0]
    )


def test_it_asks_by_itself_and_not_while_it_is_hidden(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def note() -> list[ProjectionStatus]:
        asked.append(None)
        return projection_statuses()

    monkeypatch.setattr(dashboard, "projection_statuses", note)
    sign_in_as(browser, "viewer")
    # Time goes by as it is told.
    browser.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {
            "source": """
            window.timers = [];
            window.setTimeout = (run, ms) => timers.push([run, ms]);
            window.clearTimeout = () => { timers.length = 0; };
            """
        },
    )
    browser.visit(DASHBOARD)

    def waits() -> list[int]:
        return browser.driver.execute_script(
            "return timers.filter(([run]) => run.name === 'look').map(([, ms]) => ms)"
        )

    look = "timers.find(([run]) => run.name === 'look')[0]"

    def run() -> None:
        # Planned again only when it has been answered.
        browser.driver.execute_script(f"const look = {look}; timers.length = 0; look()")

    assert waits() == [5000]
    # For the page itself.
    assert len(asked) == 1
    run()
    browser.wait_until(lambda: waits() == [5000])
    assert len(asked) == 2

    # Each time that it fails it waits for longer, to a limit.
    monkeypatch.setattr(dashboard, "projection_statuses", fail)
    for expected in (10_000, 20_000, 40_000, 60_000, 60_000):
        run()
        browser.wait_until(lambda expected=expected: waits() == [expected])

    browser.driver.execute_script(
        "Object.defineProperty(document, 'hidden', {value: true});" + LOOK
    )
    assert waits() == []


def test_without_scripts_the_figures_are_there(browser: Browser) -> None:
    sign_in_as(browser, "viewer")
    browser.driver.execute_cdp_cmd(
        "Emulation.setScriptExecutionDisabled", {"value": True}
    )

    browser.driver.get(f"{browser.url}{DASHBOARD}")

    assert "12,480 events" in browser.driver.page_source
    assert len(browser.all(".esdb-card svg")) == len(NAMES)
