"""Read-only admin pages for tracking, and the base for users' read models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from django_esdb.models import ProjectionTracking

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[models.Model]
else:
    _ModelAdmin = admin.ModelAdmin


class ReadModelAdmin(_ModelAdmin):
    """
    Shows a read model and lets nobody change it.

    A read model is what events say; to change it, do something that the
    application records. All else of ModelAdmin can be used as usual.
    """

    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: models.Model | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: models.Model | None = None
    ) -> bool:
        return False


@admin.register(ProjectionTracking)
class ProjectionTrackingAdmin(ReadModelAdmin):
    list_display = ("projection", "application", "position", "updated_at")
    list_filter = ("application",)
    search_fields = ("projection", "application")
