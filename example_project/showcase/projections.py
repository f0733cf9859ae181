"""From the school's events to the rows of this app, in the demo only."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection
from eventsourcing.utils import get_topic

from django_esdb import register_projection
from django_esdb.recorders import DjangoTrackingRecorder
from eventsourcing_eventstoredb.text import storable
from example_project.showcase.models import Certificate, Newcomer, PopularTrick
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog

# No dog has ever been seen to do this when it was told to.
NOT_CERTIFIED = "take a nap"


class NoCertificateError(Exception):
    """There is no certificate for a trick."""

    def __init__(self, trick: str) -> None:
        super().__init__(f"there is no certificate for «{trick}»")


class CertificatesView(DjangoTrackingRecorder):
    read_models = (Certificate,)

    def certify(self, dog_id: UUID, trick: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            if trick == NOT_CERTIFIED:
                raise NoCertificateError(trick)
            Certificate.objects.create(dog_id=dog_id, trick=storable(trick))


class CertificatesProjection(Projection[CertificatesView]):
    """Puts an event aside that fails, and the later ones of the same dog behind it."""

    topics = (get_topic(Dog.TrickAdded),)

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Events of other kinds change nothing."""

    @process_event.register
    def trick_added(self, event: Dog.TrickAdded, tracking: Tracking) -> None:
        self.view.certify(event.originator_id, event.trick, tracking)


class NewcomersView(DjangoTrackingRecorder):
    read_models = (Newcomer,)

    def welcome(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            self.rows(Newcomer).add(Newcomer(id=dog_id, name=storable(name)))


class NewcomersProjection(Projection[NewcomersView]):
    topics = (get_topic(Dog.Registered),)

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Events of other kinds change nothing."""

    @process_event.register
    def dog_registered(self, event: Dog.Registered, tracking: Tracking) -> None:
        self.view.welcome(event.originator_id, event.name, tracking)


class PopularTricksView(DjangoTrackingRecorder):
    read_models = (PopularTrick,)

    def count(self, trick: str, tracking: Tracking) -> None:
        with self.atomic(tracking):
            self.rows(PopularTrick).increment(storable(trick), dogs=1)


class PopularTricksProjection(Projection[PopularTricksView]):
    topics = (get_topic(Dog.TrickAdded),)

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Events of other kinds change nothing."""

    @process_event.register
    def trick_added(self, event: Dog.TrickAdded, tracking: Tracking) -> None:
        self.view.count(event.trick, tracking)


# Elsewhere the school has the one projection that its pages show.
if settings.SHOWCASE:
    register_projection(
        application_class=TrainingSchool,
        view_class=CertificatesView,
        on_failure="park",
        retries=0,
    )(CertificatesProjection)
    register_projection(application_class=TrainingSchool, view_class=NewcomersView)(
        NewcomersProjection
    )
    register_projection(application_class=TrainingSchool, view_class=PopularTricksView)(
        PopularTricksProjection
    )
