from __future__ import annotations

from django.urls import URLPattern

app_name = "training_school"
urlpatterns: list[URLPattern] = []
