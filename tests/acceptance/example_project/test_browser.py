"""The site in a real browser: what its users see and can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone
from selenium import webdriver

from django_esdb.models import FailedEvent, ProjectionTracking, SkippedEvent
from example_project.training_school.models import Dog
from tests.support.browsers import Browser, needs_browser, new_tab

PHONE_WIDTH = 400

pytestmark = [
    needs_browser,
    # Without a browser pages are looked at on each.
    pytest.mark.any_database,
]


@pytest.fixture
def browser(
    chromium_driver: webdriver.Chrome, school: None, live_server: Any
) -> Iterator[Browser]:
    with new_tab(chromium_driver, live_server.url) as browser:
        yield browser


def test_a_visitor_registers_a_dog_and_teaches_it(browser: Browser):
    browser.visit("/")
    assert browser.texts("h1") == ["Dogs"]
    assert browser.texts(".empty") == ["No dog is registered yet."]

    browser.follow("Register a dog")
    browser.submit(name="Zoë O'Malley <3")
    assert browser.texts("h1") == ["Zoë O'Malley <3"]
    assert browser.texts("[role=status]") == ["Zoë O'Malley <3 is registered."]

    browser.submit(trick="roll over")
    browser.submit(trick="<b>bark</b>")
    assert browser.texts(".tricks li") == ["roll over", "<b>bark</b>"]

    browser.follow("Dogs")
    assert browser.texts(".counts dd") == ["1", "2"]
    assert browser.texts(".dogs li") == ["Zoë O'Malley <3\n2 tricks"]
    browser.follow("Zoë O'Malley <3")
    assert browser.texts(".tricks li") == ["roll over", "<b>bark</b>"]


def test_a_mistake_is_shown_next_to_its_field(browser: Browser):
    browser.visit(reverse("training_school:register"))

    browser.submit(name="x" * 256)

    (field,) = browser.all("[name=name]")
    assert field.get_attribute("value") == "x" * 256
    assert field.get_attribute("aria-invalid") == "true"
    (error,) = browser.all("[role=alert]")
    assert error.text.startswith("This is too long: 256 characters")
    # What a screen reader reads with the field.
    assert error.get_attribute("id") in field.get_attribute("aria-describedby")


def test_the_site_fits_a_phone_and_its_style_is_there(browser: Browser):
    browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": PHONE_WIDTH, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    browser.visit(reverse("training_school:register"))
    browser.submit(name="W" * 255)
    browser.submit(trick="M" * 255)

    for path in (browser.driver.current_url.removeprefix(browser.url), "/"):
        browser.visit(path)
        width = browser.driver.execute_script(
            "return document.documentElement.scrollWidth"
        )
        assert width <= PHONE_WIDTH
    (button,) = browser.all(".button")
    assert button.value_of_css_property("text-decoration-line") == "none"


def test_pages_load_without_errors(browser: Browser):
    browser.visit("/")
    browser.visit(reverse("training_school:register"))
    browser.submit(name="Rex")

    assert browser.driver.get_log("browser") == []


def test_the_admin_shows_read_models_and_changes_nothing(browser: Browser):
    User.objects.create_superuser("admin", password="woof-woof")
    browser.visit(reverse("training_school:register"))
    browser.submit(name="Rex")
    browser.submit(trick="fetch")

    browser.follow("Admin")
    browser.submit(username="admin", password="woof-woof")

    shown = {
        "training_school_dog": ["Rex", "1", str(Dog.objects.get().id)],
        "training_school_schoolcounts": ["1 dog, 1 trick", "1", "1"],
        "django_esdb_projectiontracking": [
            "TrainingSchoolProjection",
            "Running",
        ],
    }
    for name, values in shown.items():
        browser.visit(reverse(f"admin:{name}_changelist"))
        cells = browser.texts("#result_list tbody tr > :not(.action-checkbox)")
        assert cells[: len(values)] == values
        assert browser.all("#content .addlink") == []

        (link,) = browser.all("#result_list tbody th a")
        browser.leave_by(link)
        assert browser.texts("#content h1")[0].startswith("View ")
        assert browser.all("#content [type=submit], #content .deletelink") == []

        browser.visit(reverse(f"admin:{name}_add"))
        assert browser.driver.title == "403 Forbidden"


# Texts that are turned round, of which two letters are looked at, and texts with
# direction characters that may turn round others.
REVERSED = """
const found = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const text = texts.currentNode.data;
  const at = text.search(/[A-Za-z]{2}/);
  const parent = texts.currentNode.parentElement;
  if (/[\\u202a-\\u202e\\u2066-\\u2069]/.test(text)) {
    const isAlone = getComputedStyle(parent).unicodeBidi === 'isolate';
    if (!isAlone && parent.localName !== 'option') found.push(text.trim());
    continue;
  }
  if (at < 0) continue;
  const [first, second] = [at, at + 1].map((index) => {
    const range = document.createRange();
    range.setStart(texts.currentNode, index);
    range.setEnd(texts.currentNode, index + 1);
    return range.getBoundingClientRect();
  });
  if (first.top === second.top && first.left > second.left) found.push(text.trim());
}
return found;
"""
# Each begins what it does not end.
DIRECTIONS = [*"\u202a\u202b\u202d\u202e\u2066\u2067\u2068"]


@pytest.mark.slow("it looks at a dozen pages in a browser")
def test_stored_text_turns_nothing_round_that_stands_next_to_it(browser: Browser):
    User.objects.create_superuser("admin", password="woof-woof")
    hostile = " ".join(f"Rex{each}Fido" for each in DIRECTIONS)
    dog = Dog.objects.create(id=uuid4(), name=hostile, tricks=[hostile, "sit"])
    tracked = ProjectionTracking.objects.get_or_create(
        projection="TrainingSchoolProjection", application="TrainingSchool"
    )[0]
    ProjectionTracking.objects.update(error=hostile, state="paused")
    now = timezone.now()
    kinds = {FailedEvent: {"parked_at": now}, SkippedEvent: {"skipped_at": now}}
    failed, skipped = (
        kind.objects.create(
            **times,
            projection="TrainingSchoolProjection",
            application="TrainingSchool",
            position=number,
            originator_id=hostile,
            originator_version=1,
            topic=f"school:{hostile}",
            error=hostile,
        )
        for number, (kind, times) in enumerate(kinds.items())
    )
    browser.driver.get(
        "data:text/html;charset=utf-8,<p><i>Rex%E2%80%AE</i> <b>and others</b></p>"
    )
    assert browser.driver.execute_script(REVERSED) == ["Rex\u202e", "and others"]

    browser.visit(reverse("admin:login"))
    browser.submit(username="admin", password="woof-woof")
    pages = ["/", reverse("training_school:dog", args=[dog.id])]
    for row in (dog, tracked, failed, skipped):
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}"
        pages.append(reverse(f"{name}_changelist"))
        pages.append(reverse(f"{name}_change", args=[row.pk]))
    for page in pages:
        browser.visit(page)
        assert "Fido" in browser.driver.page_source, page
        assert browser.driver.execute_script(REVERSED) == [], page


@pytest.mark.parametrize("width", [1280, 390])
def test_the_admin_leads_from_a_row_to_its_events_and_back(
    browser: Browser, width: int
):
    User.objects.create_superuser("admin", password="woof-woof")
    browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.visit(reverse("training_school:register"))
    browser.submit(name="Rex")
    browser.submit(trick="fetch " * 40)
    dog = Dog.objects.get()
    form = reverse("admin:training_school_dog_change", args=[dog.pk])
    browser.visit(f"{reverse('admin:login')}?next={form}")
    browser.submit(username="admin", password="woof-woof")

    def assert_fits() -> None:
        shown = browser.driver.execute_script(
            "return document.documentElement.scrollWidth"
        )
        assert shown <= width
        # Neither scripts nor styles are in the page itself.
        content = browser.all("#content")[0].get_attribute("outerHTML")
        assert "style=" not in content
        assert "<script" not in content

    (events,) = browser.all(".object-tools a[href*=storedevent]")
    assert events.text.casefold() == "events"
    browser.leave_by(events)
    assert_fits()
    topics = browser.texts(".stored-events-results tbody td.name:nth-child(2)")
    # The style is there that cuts long ones.
    cell = browser.all(".stored-events-results td.name")[0]
    assert cell.value_of_css_property("text-overflow") == "ellipsis"
    assert topics == ["Dog.TrickAdded", "Dog.Registered"]
    (link, _) = browser.all(".stored-events-results td.number a")
    browser.leave_by(link)
    assert_fits()
    assert '"trick": "fetch fetch' in browser.texts(".stored-event pre")[0]

    browser.follow("dog: Rex")
    assert browser.driver.current_url == f"{browser.url}{form}"


def test_the_admin_discards_failed_events_after_asking(browser: Browser):
    User.objects.create_superuser("admin", password="woof-woof")
    for number in (1, 2):
        FailedEvent.objects.create(
            projection="TrainingSchoolProjection",
            application="TrainingSchool",
            position=number,
            originator_id="<b>Rex</b>",
            originator_version=number,
            topic="school:Dog.TrickAdded",
            error="KeyError: 'x'",
            parked_at=timezone.now(),
        )
    listed = reverse("admin:django_esdb_failedevent_changelist")
    browser.visit(f"{reverse('admin:login')}?next={listed}")
    browser.submit(username="admin", password="woof-woof")

    def discard_first() -> None:
        browser.all("#result_list .action-select")[0].click()
        (option,) = browser.all("[name=action] option[value=discard]")
        option.click()
        (button,) = browser.all("#changelist-form .actions [type=submit]")
        browser.leave_by(button)
        assert "school:Dog.TrickAdded of <b>Rex</b> at 1" in browser.texts("ul li")[-1]

    discard_first()
    browser.follow("No, take me back")
    assert FailedEvent.objects.count() == 2
    discard_first()
    (button,) = browser.all("#content [type=submit]")
    browser.leave_by(button)

    assert browser.texts(".messagelist li") == ["1 discarded"]
    assert [event.position for event in FailedEvent.objects.all()] == [2]
