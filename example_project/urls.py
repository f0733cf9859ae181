from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health/", include("django_esdb.urls")),
    path("", include("example_project.training_school.urls")),
]
