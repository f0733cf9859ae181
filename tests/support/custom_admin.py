"""URLs of a project that has an admin site of its own, under another name."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.urls import path

from django_esdb.admin import ProjectionTrackingAdmin, StoredEventAdmin
from django_esdb.models import ProjectionTracking, StoredEvent

# One without failed events, and one without projections.
site = AdminSite("operations")
site.register(ProjectionTracking, ProjectionTrackingAdmin)
other_site = AdminSite("audit")
other_site.register(StoredEvent, StoredEventAdmin)

urlpatterns = [path("ops/", site.urls), path("audit/", other_site.urls)]
