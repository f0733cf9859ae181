from __future__ import annotations

from django.apps import AppConfig


class TrainingSchoolConfig(AppConfig):
    name = "example_project.training_school"
    verbose_name = "Training school"
    default_auto_field = "django.db.models.BigAutoField"
