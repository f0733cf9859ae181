"""A model for what is in event stores and in no table."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class _NoRowsManager(models.Manager[models.Model]):
    """Finds nothing, and asks no database: its model has no table."""

    def get_queryset(self) -> models.QuerySet[models.Model]:
        return super().get_queryset().none()


class StoredEvent(models.Model):
    """
    An event in an event store, which no database has: for permissions and the admin.

    Nothing is read through it; :mod:`django_esdb.events.stored_events` reads events.
    """

    objects = _NoRowsManager()

    class Meta:
        managed = False
        # For dumpdata --all, which asks unmanaged models, too.
        base_manager_name = "objects"
        verbose_name = _("stored event")
        verbose_name_plural = _("stored events")
        default_permissions = ("view",)
        permissions = (("view_payload", _("Can view payloads and metadata")),)

    def __str__(self) -> str:
        return str(self._meta.verbose_name)
