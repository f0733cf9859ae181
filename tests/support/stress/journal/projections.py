"""
A second projection of the school's events, on the plain ORM.

The example's own works through ``rows()``. Each has its own position and owner.
"""

from __future__ import annotations

from typing import Any

from django.db.models import F
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection
from eventsourcing.utils import get_topic

from django_esdb import register_projection
from django_esdb.recorders import DjangoTrackingRecorder
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from tests.support.stress.journal.models import Entry, Tally

_ONLY_ROW = 1


class JournalView(DjangoTrackingRecorder):
    read_models = (Entry, Tally)

    def note(self, text: str, tracking: Tracking) -> None:
        """Add an entry, and count it by the database and by hand."""
        with self.atomic(tracking):
            Entry.objects.create(position=tracking.notification_id, text=text)
            tally, _ = Tally.objects.get_or_create(pk=_ONLY_ROW)
            Tally.objects.filter(pk=_ONLY_ROW).update(added=F("added") + 1)
            tally.saved += 1
            tally.save(update_fields=["saved"])


@register_projection(application_class=TrainingSchool, view_class=JournalView)
class JournalProjection(Projection[JournalView]):
    topics = (get_topic(Dog.Registered), get_topic(Dog.TrickAdded))

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Events of other kinds are not noted."""

    @process_event.register
    def dog_registered(self, event: Dog.Registered, tracking: Tracking) -> None:
        self.view.note(event.name, tracking)

    @process_event.register
    def trick_added(self, event: Dog.TrickAdded, tracking: Tracking) -> None:
        self.view.note(event.trick, tracking)
