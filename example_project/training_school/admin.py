from __future__ import annotations

from django.contrib import admin
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from django_esdb.admin import ReadModelAdmin
from example_project.training_school.models import Dog, SchoolCounts


@admin.register(Dog)
class DogAdmin(ReadModelAdmin):
    list_display = ("short_name", "trick_count", "id")
    search_fields = ("name",)

    @admin.display(description=_("name"), ordering="name")
    def short_name(self, dog: Dog) -> str:
        # A name of 255 characters would push the other columns out of sight.
        return Truncator(dog.name).chars(50)

    @admin.display(description=_("tricks"))
    def trick_count(self, dog: Dog) -> int:
        return len(dog.tricks)


@admin.register(SchoolCounts)
class SchoolCountsAdmin(ReadModelAdmin):
    list_display = ("__str__", "dogs", "tricks")
