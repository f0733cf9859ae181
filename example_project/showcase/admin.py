from __future__ import annotations

from django.contrib import admin
from django.db.models import Model

from django_esdb.admin import ReadModelAdmin
from example_project.showcase.models import Certificate, Newcomer, PopularTrick


@admin.register(Certificate)
class CertificateAdmin(ReadModelAdmin):
    list_display = ("trick", "dog_id")

    def event_stream(self, obj: Model) -> str:
        assert isinstance(obj, Certificate)
        return str(obj.dog_id)


@admin.register(Newcomer)
class NewcomerAdmin(ReadModelAdmin):
    list_display = ("name", "id")


@admin.register(PopularTrick)
class PopularTrickAdmin(ReadModelAdmin):
    list_display = ("trick", "dogs")

    def event_stream(self, obj: Model) -> str:
        # It is made of many dogs' events.
        return ""
