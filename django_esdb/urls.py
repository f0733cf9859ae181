"""
Addresses for probes and load balancers.

To be included where they are wanted: ``path("health/", include("django_esdb.urls"))``.
"""

from __future__ import annotations

from django.urls import path

from django_esdb import views

app_name = "django_esdb"
urlpatterns = [
    path("live", views.live, name="live"),
    path("ready", views.ready, name="ready"),
]
