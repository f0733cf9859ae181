"""Admin pages of events that projections have left out."""

from __future__ import annotations

from django.contrib import admin

from django_esdb.admin.event_columns import EventColumns
from django_esdb.admin.read_models import ReadModelAdmin
from django_esdb.models import SkippedEvent


@admin.register(SkippedEvent)
class SkippedEventAdmin(EventColumns, ReadModelAdmin):
    list_display = (
        # What is wrong comes before what a narrow window cuts off.
        *("id", "projection", "short_error", "event_class", "position"),
        *("aggregate", "originator_version", "skipped_at"),
    )
    list_filter = ("projection",)
    search_fields = ("originator_id", "topic")
    fields = (
        *("id", "projection", "application", "position"),
        *("aggregate", "originator_version", "event_topic"),
        *("whole_error", "place", "skipped_at"),
    )
    readonly_fields = fields
