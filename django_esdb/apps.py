from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _

from django_esdb.applications.default_env import (
    guard_every_application,
    refuse_earlier_applications,
    use_settings_as_default_env,
)
from django_esdb.applications.repositories import make_caches_safe
from django_esdb.exceptions import AlreadyRegisteredError
from django_esdb.handlers.effects import give_projections_effects
from django_esdb.handlers.metadata import give_projections_metadata
from django_esdb.registry import registry
from django_esdb.topics.aliases import apply_topic_aliases


class SimpleDjangoEsdbConfig(AppConfig):
    """The app without importing each app's ``projections`` module."""

    name = "django_esdb"
    verbose_name = _("Event sourcing")
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        # Before models are imported, whose modules may make an application.
        refuse_earlier_applications()
        use_settings_as_default_env()
        guard_every_application()
        give_projections_metadata()
        give_projections_effects()
        make_caches_safe()

    def ready(self) -> None:
        # They load models, which cannot be before all apps are there.
        from django_esdb.applications.web_requests import limit_web_requests
        from django_esdb.checks.configuration import TAG, check_project
        from django_esdb.checks.deployment import check_deployment

        apply_topic_aliases()
        checks.register(check_project, TAG)
        checks.register(check_deployment, TAG, deploy=True)
        limit_web_requests()


class DjangoEsdbConfig(SimpleDjangoEsdbConfig):
    """The app as it is usually installed: projections are discovered."""

    default = True

    def ready(self) -> None:
        super().ready()
        try:
            autodiscover_modules("projections", register_to=registry)
        except AlreadyRegisteredError as error:
            # The check and the commands say it in a line; raised here it would
            # be a traceback for whatever command is run.
            registry.discovery_error = error
