"""Failed events and read models of the admin in a real browser."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone

from django_esdb import get_application
from django_esdb.models import FailedEvent, ProjectionLag, ProjectionTracking
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.browsers import Browser, needs_browser
from tests.support.failed_events import FAILED, many_failed
from tests.support.staff import sign_in_as

pytestmark = [needs_browser, pytest.mark.any_database]

DOGS = "/admin/training_school/dog/"
TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "/srv/school/projections.py", line 41, in process_event\n'
    f"    {'self.view.register_dog(event.originator_id, event.name), ' * 3}\n"
    "KeyError: 'name'"
)


@pytest.fixture
def browser(strict_browser: Browser) -> Browser:
    fill()
    return strict_browser


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


def page_of(event: FailedEvent) -> str:
    return reverse("admin:django_esdb_failedevent_change", args=[event.pk])


def press(browser: Browser, label: str) -> None:
    (button,) = [
        each for each in browser.all(".page-buttons button") if each.text == label
    ]
    browser.leave_by(button)


def test_groups_lead_to_events_and_these_to_all_that_they_are_about(
    browser: Browser,
) -> None:
    sign_in_as(browser, "superuser")
    browser.visit(FAILED)
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
    sign_in_as(browser, "superuser")
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
    sign_in_as(browser, "watcher", ("view_failedevent", "view_dog"))

    browser.visit(page_of(FailedEvent.objects.order_by("pk")[0]))

    assert browser.all(".page-buttons, #content [type=submit]") == []
    assert "You may not see what it says." in browser.texts(".failed-event-payload p")
    assert "Rex" not in browser.texts(".failed-event-payload")[0]
    browser.visit(DOGS)
    assert "at least 2 events are missing" in browser.texts(".as-of")[0]
    assert browser.texts(".paginator") == ["1 dog"]
