"""Projections that ask for events of every topic, as they are stored."""

from __future__ import annotations

from typing import Any

from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection

from django_esdb import register_projection
from django_esdb.recorders import DjangoTrackingRecorder
from example_project.training_school.application import TrainingSchool


class NothingView(DjangoTrackingRecorder):
    pass


@register_projection(application_class=TrainingSchool, view_class=NothingView)
class EverythingProjection(Projection[NothingView]):
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Do nothing."""


@register_projection(application_class=TrainingSchool, view_class=NothingView)
class RepeatingProjection(Projection[NothingView]):
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Fail with what the event says, as careless code would."""
        raise ValueError(domain_event.name)
