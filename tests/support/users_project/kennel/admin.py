from __future__ import annotations

from django.contrib import admin

from django_esdb.admin import ReadModelAdmin
from kennel.models import KennelDog


@admin.register(KennelDog)
class KennelDogAdmin(ReadModelAdmin):
    list_display = ("name", "tricks")
    event_application = "Kennel"
