"""The example's site with something on each of its pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils import timezone

from django_esdb import get_application
from django_esdb.events.stored_events import StoredEvents
from django_esdb.models import FailedEvent, ProjectionTracking, SkippedEvent
from django_esdb.models.error_kinds import error_kind
from eventsourcing_eventstoredb import event_metadata
from eventsourcing_eventstoredb.metadata import CAUSATION_ID, CORRELATION_ID
from example_project.showcase.models import Certificate, Newcomer, PopularTrick
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from example_project.training_school.models import Dog as DogRow
from example_project.training_school.models import SchoolCounts
from tests.support import dashboards

# What has failed can be processed, but for Bello's first event: his row is there.
FAILING, WORKING = "Bello", "Cato"
LONG = "fetch the newspaper without tearing it to pieces " * 5
TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "/srv/school/projections.py", line 41, in process_event\n'
    f"    {'self.view.register_dog(event.originator_id, event.name), ' * 3}\n"
    "KeyError: 'name'"
)


@dataclass(frozen=True)
class Filled:
    """
    What is on the pages.

    Attributes:
        failing: A failed event that fails again.
        waiting: One that waits behind it.
        working: One that can be processed.
        skipped: One that was left out.
        dog: A row with events in the store.
        caused: The position of an event of which is known what has caused it.
    """

    failing: FailedEvent
    waiting: FailedEvent
    working: FailedEvent
    skipped: SkippedEvent
    dog: DogRow
    caused: int

    def row(self, projection: str) -> ProjectionTracking:
        """Return a projection's row."""
        return ProjectionTracking.objects.get(projection=projection)


def fill() -> Filled:
    """Write events and rows. The projections are those of ``more_projections``."""
    dashboards.fill(lasts=timedelta(hours=1))
    # Their positions are made up: where others write, they may be inside events.
    FailedEvent.objects.all().delete()
    school = get_application(TrainingSchool)
    school.register(FAILING)
    school.add_trick(FAILING, LONG)
    school.register(WORKING)
    browser = StoredEvents(school).browser
    cause = str(browser.newest(10).events[-1].event_id)
    with event_metadata(**{CAUSATION_ID: cause, CORRELATION_ID: cause}):
        caused = school.add_trick(WORKING, "sit")
    failing, waiting, working, _ = (
        _failed(each, *error)
        for each, error in zip(
            _stored(),
            [("KeyError: 'name'", TRACEBACK), (), ("RuntimeError: no pen", ""), ()],
            strict=True,
        )
    )
    skipped = SkippedEvent.objects.create(
        **_place(_stored()[1]),
        error="ValueError: too many tricks",
        traceback=TRACEBACK,
        skipped_at=timezone.now(),
    )
    dog = DogRow.objects.create(
        id=Dog.create_id(FAILING), name=FAILING, tricks=["roll over", LONG]
    )
    SchoolCounts.objects.create(dogs=3, tricks=4)
    Newcomer.objects.create(id=dog.id, name=dog.name)
    certificate = Certificate.objects.create(dog_id=dog.id, trick=LONG[:255])
    PopularTrick.objects.create(trick=LONG[:255], dogs=2)
    for row in (failing, skipped, dog, certificate, *ProjectionTracking.objects.all()):
        _note(row)
    return Filled(failing, waiting, working, skipped, dog, caused)


def _stored() -> list[Any]:
    school = get_application(TrainingSchool)
    return list(school.recorder.select_notifications(1, 10))


def _place(notification: Any) -> dict[str, Any]:
    return {
        "projection": dashboards.Invoices.name,
        "application": TrainingSchool.name,
        "position": notification.id,
        "originator_id": str(notification.originator_id),
        "originator_version": notification.originator_version,
        "topic": notification.topic,
    }


def _failed(notification: Any, error: str = "", traceback: str = "") -> FailedEvent:
    return FailedEvent.objects.create(
        **_place(notification),
        error=error,
        error_kind=error_kind(error),
        traceback=traceback,
        attempts=1 if error else 0,
        parked_at=timezone.now(),
    )


def _note(row: models.Model) -> None:
    """Have a row have a history."""
    user, _ = User.objects.get_or_create(username="visitor")
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(row),
        object_id=str(row.pk),
        object_repr=str(row)[:200],
        action_flag=CHANGE,
        change_message="Paused",
    )
