"""Registers a projection under a name that the example has."""

from __future__ import annotations

from django_esdb import register_projection
from example_project.training_school import projections
from example_project.training_school.application import TrainingSchool


@register_projection(
    application_class=TrainingSchool, view_class=projections.TrainingSchoolView
)
class TrainingSchoolProjection(projections.TrainingSchoolProjection):
    pass
