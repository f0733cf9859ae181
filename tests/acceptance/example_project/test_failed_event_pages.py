"""Failed events and read models of the admin in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from django_esdb import get_application
from django_esdb.admin import event_reading
from django_esdb.models import FailedEvent, ProjectionLag, ProjectionTracking
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.axe import findings
from tests.support.browsers import Browser, browsing, needs_browser
from tests.support.content_policy import CONTENT_POLICY
from tests.support.failed_events import FAILED, many_failed

pytestmark = [needs_browser, pytest.mark.any_database]

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
DOGS = "/admin/training_school/dog/"
TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "/srv/school/projections.py", line 41, in process_event\n'
    f"    {'self.view.register_dog(event.originator_id, event.name), ' * 3}\n"
    "KeyError: 'name'"
)


# Of what is too wide.
WIDE = """
return [...document.querySelectorAll('body *')]
  .filter((each) => each.getBoundingClientRect().right > arguments[0])
  .map((each) => each.outerHTML.slice(0, 100));
"""


@pytest.fixture
def browser(
    site_store: EmbeddedServer,
    transactional_db: None,
    live_server: Any,
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Browser]:
    # Tests share the machine.
    monkeypatch.setattr(event_reading, "SECONDS", 60.0)
    settings.MIDDLEWARE = [CONTENT_POLICY, *settings.MIDDLEWARE]
    fill()
    with browsing(live_server.url, tmp_path / "browser") as browser:
        yield browser


def fill() -> None:
    """Have Rex's events failed, and many others that have no stored event."""
    school = get_application(TrainingSchool)
    school.register("Rex")
    school.add_trick("Rex", "roll over")
    name, application = TrainingSchoolProjection.name, TrainingSchool.name
    tracking = ProjectionTracking.objects.create(
        projection=name,
        application=application,
        position=90_000,
        processed=10,
        event_time=timezone.now(),
    )
    ProjectionLag.objects.create(
        tracking=tracking, head=95_000, total=12, measured_at=timezone.now()
    )
    for number, each in enumerate(school.recorder.select_notifications(1, 2)):
        FailedEvent.objects.create(
            projection=name,
            application=application,
            position=each.id,
            originator_id=str(each.originator_id),
            originator_version=each.originator_version,
            topic=each.topic,
            error="" if number else "KeyError: 'name'",
            traceback="" if number else TRACEBACK,
            attempts=1,
            parked_at=timezone.now(),
        )
    kinds = [("DoesNotExist: dog {}", 110), (f"RuntimeError: {'very ' * 60}bad", 30)]
    for error, count in kinds:
        many_failed(count, error, projection="Invoices_of_the_training_school")
    Dog.objects.create(id="7661899a-7326-4da2-8369-e75b1854c6af", name="Fido")


def log_in(browser: Browser, *codenames: str) -> None:
    if codenames:
        user = User.objects.create_user("operator", password="woof", is_staff=True)
        chosen = Permission.objects.filter(codename__in=codenames)
        assert len(chosen) == len(codenames)
        user.user_permissions.add(*chosen)
    else:
        User.objects.create_superuser("operator", password="woof")
    browser.log_in("operator", "woof", FAILED)


def page_of(event: FailedEvent) -> str:
    return reverse("admin:django_esdb_failedevent_change", args=[event.pk])


def complaints(browser: Browser) -> list[str]:
    said = [each["message"] for each in browser.driver.get_log("browser")]
    return [each for each in said if "favicon" not in each]


def press(browser: Browser, label: str) -> None:
    (button,) = [
        each for each in browser.all(".page-buttons button") if each.text == label
    ]
    browser.leave_by(button)


@pytest.mark.slow("it looks at all pages, in two widths and two schemes")
def test_pages_fit_and_can_be_used_by_all(browser: Browser) -> None:
    log_in(browser)
    event = FailedEvent.objects.order_by("pk")[0]
    dog = Dog.objects.get()
    group = (
        "?projection=Invoices_of_the_training_school&application=TrainingSchool"
        "&error_kind=DoesNotExist: dog …"
    )
    pages = [
        FAILED,
        f"{FAILED}groups/",
        f"{FAILED}{group}",
        f"{FAILED}?q=nothing",
        page_of(event),
        DOGS,
        f"{DOGS}{dog.pk}/change/",
    ]

    found: dict[Any, list[Any]] = {}
    for width in WIDTHS:
        browser.resize(width)
        for scheme in SCHEMES:
            browser.prefer(scheme)
            for page in pages:
                browser.visit(page)
                shown = browser.driver.execute_script(
                    "return document.documentElement.scrollWidth"
                )
                assert shown <= width, (
                    page,
                    browser.driver.execute_script(WIDE, width),
                )
                assert complaints(browser) == [], page
                found[page, width, scheme] = findings(browser)
    assert {where: what for where, what in found.items() if what} == {}


def test_groups_lead_to_events_and_these_to_all_that_they_are_about(
    browser: Browser,
) -> None:
    log_in(browser)
    assert len(browser.all("#result_list tbody tr")) == 100
    browser.follow("Next page")
    assert len(browser.all("#result_list tbody tr")) == 42
    browser.leave_by(browser.all(".object-tools a")[0])
    counts = browser.texts(".failed-events-groups tbody td.number")
    assert counts == ["110", "30", "1", "1"]
    browser.follow("KeyError: 'name'")
    browser.leave_by(browser.all("#result_list tbody th a")[0])

    assert '"name": "Rex"' in browser.texts(".failed-event-payload pre")[0]
    assert browser.texts(".failed-event-waiting h2") == ["Waiting behind it: 1"]
    page = browser.driver.current_url
    for label, title in {
        TrainingSchoolProjection.name: "projection tracking",
        str(FailedEvent.objects.order_by("pk")[0].position): "Stored event",
    }.items():
        browser.follow(label)
        assert title.casefold() in browser.driver.title.casefold()
        browser.driver.get(page)


def test_events_are_retried_and_discarded_on_their_pages(browser: Browser) -> None:
    log_in(browser)
    first, second = FailedEvent.objects.order_by("pk")[:2]
    browser.visit(page_of(second))

    press(browser, "Retry")
    assert "waits for" in browser.texts(".messagelist li")[0]
    browser.visit(page_of(first))
    press(browser, "Retry")
    assert browser.texts(".messagelist li") == ["TrainingSchoolProjection: 1 processed"]
    assert Dog.objects.filter(name="Rex").exists()
    browser.visit(page_of(second))
    press(browser, "Discard")
    assert browser.texts("#content h2") == ["1 failed event"]
    (button,) = browser.all("#content [type=submit]")
    browser.leave_by(button)
    assert browser.texts(".messagelist li") == ["1 discarded"]
    assert not FailedEvent.objects.filter(pk__in=[first.pk, second.pk]).exists()


def test_who_may_only_view_is_offered_nothing_else(browser: Browser) -> None:
    log_in(browser, "view_failedevent", "view_dog")

    browser.visit(page_of(FailedEvent.objects.order_by("pk")[0]))

    assert browser.all(".page-buttons, #content [type=submit]") == []
    assert "You may not see what it says." in browser.texts(".failed-event-payload p")
    assert "Rex" not in browser.texts(".failed-event-payload")[0]
    browser.visit(DOGS)
    assert "at least 2 events are missing" in browser.texts(".as-of")[0]
    assert browser.texts(".paginator") == ["1 dog"]
