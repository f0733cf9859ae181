from __future__ import annotations

from django.apps import AppConfig


class ZooConfig(AppConfig):
    name = "tests.support.rows_app"
    label = "zoo"
    default_auto_field = "django.db.models.BigAutoField"
