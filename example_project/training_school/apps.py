from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TrainingSchoolConfig(AppConfig):
    name = "example_project.training_school"
    verbose_name = _("Training school")
    default_auto_field = "django.db.models.BigAutoField"
