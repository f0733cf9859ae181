"""A view that says it writes models of another database than its own."""

from __future__ import annotations

from django_esdb import register_projection
from example_project.training_school import projections
from example_project.training_school.application import TrainingSchool


class MisplacedView(projections.TrainingSchoolView):
    using = "default"


@register_projection(application_class=TrainingSchool, view_class=MisplacedView)
class MisplacedProjection(projections.TrainingSchoolProjection):
    pass
