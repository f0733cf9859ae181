"""From the school's events to its read models."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any
from uuid import UUID

from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.persistence import Tracking, TrackingRecorder
from eventsourcing.projection import Projection
from eventsourcing.utils import get_topic

from django_esdb import register_projection
from django_esdb.recorders import DjangoTrackingRecorder
from eventsourcing_eventstoredb.text import storable
from example_project.training_school import domain
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog, SchoolCounts

_ONLY_ROW = 1


class TrainingSchoolViewInterface(TrackingRecorder):
    """What a view of the school must be able to do, wherever it is kept."""

    @abstractmethod
    def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
        """Add a dog that knows no tricks."""

    @abstractmethod
    def add_trick(self, dog_id: UUID, trick: str, tracking: Tracking) -> None:
        """Add a trick to those that the dog knows."""


class TrainingSchoolView(DjangoTrackingRecorder, TrainingSchoolViewInterface):
    """The view in the ORM: a row for each dog, and one with the counts."""

    read_models = (Dog, SchoolCounts)

    def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            self.rows(Dog).add(Dog(id=dog_id, name=storable(name)))
            self.rows(SchoolCounts).increment(_ONLY_ROW, dogs=1)

    def add_trick(self, dog_id: UUID, trick: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            self.rows(Dog).get(dog_id).tricks.append(storable(trick))
            self.rows(SchoolCounts).increment(_ONLY_ROW, tricks=1)


@register_projection(
    application_class=TrainingSchool,
    view_class=TrainingSchoolView,
)
class TrainingSchoolProjection(Projection[TrainingSchoolViewInterface]):
    topics = tuple(
        topic
        for event_class in (domain.Dog.Registered, domain.Dog.TrickAdded)
        for topic in (
            get_topic(event_class),
            f"{domain.FORMER_MODULE}:{event_class.__qualname__}",
        )
    )

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Events of other kinds change nothing."""

    @process_event.register
    def dog_registered(self, event: domain.Dog.Registered, tracking: Tracking) -> None:
        self.view.register_dog(event.originator_id, event.name, tracking)

    @process_event.register
    def trick_added(self, event: domain.Dog.TrickAdded, tracking: Tracking) -> None:
        self.view.add_trick(event.originator_id, event.trick, tracking)
