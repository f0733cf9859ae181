from __future__ import annotations

from django.urls import path

from example_project.training_school import views

app_name = "training_school"
urlpatterns = [
    path("", views.dog_list, name="dogs"),
    path("dogs/register/", views.register, name="register"),
    path("dogs/<uuid:dog_id>/", views.dog, name="dog"),
]
