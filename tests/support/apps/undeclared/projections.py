"""A view that writes to another database than its own without saying so."""

from __future__ import annotations

from typing import Any

from django_esdb import register_projection
from django_esdb.recorders import DjangoTrackingRecorder
from example_project.training_school import projections
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog


class UndeclaredView(DjangoTrackingRecorder, projections.TrainingSchoolViewInterface):
    def register_dog(self, dog_id: Any, name: str, tracking: Any) -> None:
        with self.atomic(tracking):
            Dog.objects.create(id=dog_id, name=name)

    def add_trick(self, dog_id: Any, trick: str, tracking: Any) -> None:
        with self.atomic(tracking):
            pass


@register_projection(application_class=TrainingSchool, view_class=UndeclaredView)
class UndeclaredProjection(projections.TrainingSchoolProjection):
    pass
