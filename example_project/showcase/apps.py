from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ShowcaseConfig(AppConfig):
    name = "example_project.showcase"
    verbose_name = _("Showcase")
    default_auto_field = "django.db.models.BigAutoField"
