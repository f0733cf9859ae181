"""What a retry would do, as a real browser shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from django_esdb.applications import get_application
from django_esdb.models import FailedEvent
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from example_project.training_school.models import Dog as DogRow
from tests.support.axe import findings
from tests.support.browsers import Browser, browsing, needs_browser
from tests.support.content_policy import CONTENT_POLICY

pytestmark = [needs_browser, pytest.mark.any_database]

LONG = "fetch " * 40


@pytest.fixture
def browser(
    site_store: EmbeddedServer,
    transactional_db: None,
    live_server: Any,
    settings: Any,
    tmp_path: Path,
) -> Iterator[Browser]:
    settings.MIDDLEWARE = [CONTENT_POLICY, *settings.MIDDLEWARE]
    # The machine is shared.
    settings.ESDB_WEB_DEADLINE = 60.0
    with browsing(live_server.url, tmp_path / "browser") as browser:
        yield browser


def failed(position: int, version: int) -> FailedEvent:
    return FailedEvent.objects.create(
        projection="TrainingSchoolProjection",
        application="TrainingSchool",
        position=position,
        originator_id=str(Dog.create_id("Rex")),
        originator_version=version,
        topic="school:Dog.TrickAdded",
        error="KeyError: 'x'",
        parked_at=timezone.now(),
    )


def is_changing(browser: Browser) -> bool:
    script = "return document.getAnimations().length > 0"
    return bool(browser.driver.execute_script(script))


@pytest.mark.slow("it looks at two pages, in two widths and two schemes")
def test_the_button_shows_changes_and_errors_on_any_screen(browser: Browser) -> None:
    school = get_application(TrainingSchool)
    registered = failed(school.register("Rex"), 0)
    trick = failed(school.add_trick("Rex", LONG), 1)
    DogRow.objects.create(id=Dog.create_id("Rex"), name="Rex", tricks=["sit"])
    User.objects.create_superuser("admin", password="woof-woof")
    browser.log_in("admin", "woof-woof", reverse("admin:index"))

    for event, heading in (
        (trick, "It would change 2 rows"),
        (registered, "It would fail again"),
    ):
        page = reverse("admin:django_esdb_failedevent_change", args=[event.pk])
        browser.visit(page)
        (button,) = browser.all(f"form[action$='/{event.pk}/trial/'] button")
        assert button.text == "What would a retry do?"
        browser.leave_by(button)
        assert browser.texts("h2")[-1] == heading
        for width in (1280, 390):
            browser.resize(width)
            shown = browser.driver.execute_script(
                "return document.documentElement.scrollWidth"
            )
            assert shown <= width
            for scheme in ("light", "dark"):
                browser.prefer(scheme)
                # Colours of links change bit by bit.
                browser.wait_until(lambda: not is_changing(browser))
                assert findings(browser) == [], (event, width, scheme)
        browser.follow("Back to the failed event")
        assert browser.driver.current_url == f"{browser.url}{page}"

    assert DogRow.objects.get().tricks == ["sit"]
    said = [each["message"] for each in browser.driver.get_log("browser")]
    assert [each for each in said if "favicon" not in each] == []
