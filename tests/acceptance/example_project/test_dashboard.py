"""The dashboard in a real browser: who sees what, and what buttons do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.urls import reverse

from django_esdb.admin import dashboard
from django_esdb.admin.operations import OPERATIONS
from django_esdb.models import ProjectionTracking
from django_esdb.status import ProjectionStatus, projection_statuses
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.axe import findings
from tests.support.browsers import Browser, browsing, needs_browser
from tests.support.content_policy import CONTENT_POLICY
from tests.support.dashboards import LONG, NAMES, fill, more_projections

pytestmark = [needs_browser, pytest.mark.any_database]

DASHBOARD = "/admin/django_esdb/"
NAME = TrainingSchoolProjection.name
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
# As if somebody looked at the page again.
LOOK = "document.dispatchEvent(new Event('visibilitychange'))"
VIEW = ("view_projectiontracking", "view_failedevent", "view_skippedevent")
USERS: dict[str, tuple[str, ...] | None] = {
    "superuser": None,
    "viewer": VIEW,
    "pauser": (*VIEW, "pause_projectiontracking"),
    "nobody": (),
}


@pytest.fixture
def browser(
    site_store: EmbeddedServer,
    transactional_db: None,
    live_server: Any,
    settings: Any,
    tmp_path: Path,
) -> Iterator[Browser]:
    settings.MIDDLEWARE = [CONTENT_POLICY, *settings.MIDDLEWARE]
    with more_projections():
        fill(lasts=timedelta(hours=1))
        with browsing(live_server.url, tmp_path / "browser") as browser:
            yield browser


@pytest.fixture
def log_in(browser: Browser) -> Callable[[str], None]:
    def log_in(name: str) -> None:
        permissions = USERS[name]
        if permissions is None:
            User.objects.create_superuser(name, password="woof-woof")
        else:
            user = User.objects.create_user(name, password="woof-woof", is_staff=True)
            chosen = Permission.objects.filter(codename__in=permissions)
            assert len(chosen) == len(permissions)
            user.user_permissions.add(*chosen)
        browser.log_in(name, "woof-woof", "/admin/")

    return log_in


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


def complaints(browser: Browser) -> list[str]:
    """Return what the browser has to say about pages, such as what it did not run."""
    said = [each["message"] for each in browser.driver.get_log("browser")]
    return [each for each in said if "favicon" not in each]


def assert_fits(browser: Browser, width: int) -> None:
    shown = browser.driver.execute_script("return document.documentElement.scrollWidth")
    assert shown <= width, browser.driver.current_url


@pytest.mark.slow("it goes to and fro between a dozen pages in a browser")
def test_each_button_leads_to_a_page_that_does_what_it_says(
    browser: Browser, log_in: Callable[[str], None]
) -> None:
    log_in("superuser")

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


def test_figures_change_and_what_is_focused_stays_so(
    browser: Browser, log_in: Callable[[str], None]
) -> None:
    log_in("viewer")
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
    browser: Browser, log_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in("viewer")
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
    browser: Browser, log_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def note() -> list[ProjectionStatus]:
        asked.append(None)
        return projection_statuses()

    monkeypatch.setattr(dashboard, "projection_statuses", note)
    log_in("viewer")
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


def test_without_scripts_the_figures_are_there(
    browser: Browser, log_in: Callable[[str], None]
) -> None:
    log_in("viewer")
    browser.driver.execute_cdp_cmd(
        "Emulation.setScriptExecutionDisabled", {"value": True}
    )

    browser.driver.get(f"{browser.url}{DASHBOARD}")

    assert "12,480 events" in browser.driver.page_source
    assert len(browser.all(".esdb-card svg")) == len(NAMES)


@pytest.mark.slow("it looks at all pages, in two widths and two schemes")
@pytest.mark.parametrize("name", USERS)
def test_pages_can_be_used_by_all_who_may(
    browser: Browser, log_in: Callable[[str], None], name: str
) -> None:
    log_in(name)
    permissions = USERS[name]
    rows = ProjectionTracking.objects.order_by("pk")
    tracking = reverse("admin:django_esdb_projectiontracking_changelist")
    pages = [DASHBOARD, tracking]
    pages += [f"{tracking}{row.pk}/change/" for row in rows]
    allowed = {
        each.name
        for each in OPERATIONS.values()
        if permissions is None or each.permission in permissions
    }
    projections = {"retry": "Invoices", "accept": "Invoices", "resume": "Newsletter"}
    operations = {
        each: operation(each, projections.get(each, LONG)) for each in OPERATIONS
    }

    found: dict[Any, list[Any]] = {}
    for width in WIDTHS:
        browser.resize(width)
        for scheme in SCHEMES:
            browser.prefer(scheme)
            if permissions == ():
                for page in (*pages, *operations.values()):
                    browser.visit(page)
                    assert browser.all(".esdb-card, #result_list, fieldset") == []
                continue
            for page in [*pages, *(operations[each] for each in sorted(allowed))]:
                browser.visit(page)
                assert_fits(browser, width)
                assert len(browser.all("h1")) == 1
                assert complaints(browser) == [], page
                found[page, width, scheme] = findings(browser)
            for each in sorted(allowed):
                browser.visit(operations[each])
                [button] = browser.all("#content [type=submit]")
                browser.leave_by(button)
                assert len(browser.all(".messagelist li")) == 1, each
                assert_fits(browser, width)
                found[each, width, scheme] = findings(browser)
                fill(lasts=timedelta(hours=1))
            browser.visit(DASHBOARD)
            assert [each.get_attribute("title") for each in browser.all("h3")] == list(
                NAMES
            )
            shown = {
                each.text.partition(":")[0].strip().lower()
                for each in browser.all(".esdb-buttons a")
            }
            assert shown == allowed
    assert {where: what for where, what in found.items() if what} == {}
    for each in set(OPERATIONS) - allowed:
        browser.visit(operations[each])
        assert browser.driver.title.startswith(("403", "Log in"))
