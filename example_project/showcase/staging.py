"""Bringing the projections into the states that there are to be seen, once."""

from __future__ import annotations

from django.contrib.auth.models import User

from django_esdb.failures.audit import AdminAudit
from django_esdb.failures.pausing import pause_projection
from django_esdb.rebuilding.requests import request_rebuild
from django_esdb.registry import registry
from example_project.showcase.projections import (
    NewcomersProjection,
    PopularTricksProjection,
)


def have_one_behind(user: User) -> bool:
    """
    Pause a projection that has never run, so that it is behind until it is resumed.

    Args:
        user: Who does it, for the admin's history.

    Returns:
        Whether it had never run. Otherwise nothing is changed.
    """
    registration = registry.get(NewcomersProjection.name)
    tracked = registration.tracked()
    if tracked.queryset().exists():
        return False
    return pause_projection(registration, AdminAudit(user.pk, tracked))


def have_one_rebuilt(user: User) -> None:
    """
    Have a projection rebuilt by the process that runs it.

    Args:
        user: Who asks for it, for the admin's history.
    """
    registration = registry.get(PopularTricksProjection.name)
    if request_rebuild(registration, str(user.pk)):
        AdminAudit(user.pk, registration.tracked()).rebuild_requested()
