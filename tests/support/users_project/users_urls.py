from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from kennel import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health/", include("django_esdb.urls")),
    path("register/", views.register),
    path("dogs/<uuid:dog_id>/tricks/", views.add_trick),
]
