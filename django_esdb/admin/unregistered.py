"""Why nothing in the admin can process an event whose projection is not registered."""

from __future__ import annotations

from django.utils.translation import gettext

from django_esdb.models import FailedEvent, ProjectionTracking
from django_esdb.registered_names import BESIDE
from django_esdb.registry import registry
from django_esdb.status.status import shown


def why_unprocessable(row: ProjectionTracking | FailedEvent) -> str:
    """Return what to say of a row that no registration is for."""
    name = row.projection.removesuffix(BESIDE)
    if name != row.projection and registry.is_registered(name):
        return gettext(
            "its rows are built next to those in use, and after the switch its events "
            "can be tried again; to build them anew with the cause fixed, run "
            "manage.py rebuildprojection %(name)s --beside --restart"
        ) % {"name": shown(name, 100)}
    return gettext(
        "it is not registered for %(application)s and this database, so nothing "
        "can process its events"
    ) % {"application": shown(row.application, 100)}
