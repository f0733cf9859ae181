"""Admin pages of what projections are at, and of what they have left out."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _

from django_esdb.admin.acting import ActingAdmin
from django_esdb.admin.actions import request_limits, retry_projection
from django_esdb.admin.event_columns import SHORT, EventColumns, preformatted
from django_esdb.admin.read_models import ReadModelAdmin
from django_esdb.models import FailedEvent, ProjectionTracking, SkippedEvent
from django_esdb.status.advice import state_label
from django_esdb.status.rows import with_details
from django_esdb.status.status import ProjectionStatus, local, place, shown, status_of

__all__ = [
    "ProjectionTrackingAdmin",
    "ReadModelAdmin",
    "SkippedEventAdmin",
]


@admin.register(ProjectionTracking)
class ProjectionTrackingAdmin(ActingAdmin):
    # What is wrong comes before what a narrow window cuts off.
    list_display = (
        *("projection", "application", "current_state", "failed_events"),
        *("skipped_events", "short_error", "advice", "position", "updated_at"),
        *("since", "process", "until"),
    )
    list_filter = ("application", "state")
    search_fields = ("projection", "application")
    fields = (
        *("projection", "application", "current_state", "since", "advice"),
        *("whole_error", "place", "attempts", "attempted_position"),
        *("failed_events", "skipped_events"),
        *("position", "updated_at", "event_position", "event"),
        *("owner", "until", "token", "fingerprint"),
    )
    readonly_fields = fields
    actions = ("retry",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: Any = super().get_queryset(request)
        return with_details(rows)

    @admin.action(
        permissions=["retry"],
        description=_("Retry failed events, and resume if paused"),
    )
    def retry(self, request: HttpRequest, rows: models.QuerySet[Any]) -> None:
        limits = request_limits()
        for row in rows:
            self.tell(request, retry_projection(row, request.user.pk, limits))

    @admin.display(description=_("state"), ordering="state")
    def current_state(self, row: ProjectionTracking) -> str:
        return state_label(_status(row).state)

    @admin.display(description=_("since"), ordering="state_since")
    def since(self, row: ProjectionTracking) -> str:
        since = _status(row).state_since
        return "" if since is None else localize(local(since))

    @admin.display(description=_("leased until"), ordering="leased_until")
    def until(self, row: ProjectionTracking) -> str:
        leased_until = _status(row).leased_until
        return "" if leased_until is None else localize(local(leased_until))

    @admin.display(description=_("owner"), ordering="owner")
    def process(self, row: ProjectionTracking) -> str:
        return shown(place(row.owner), SHORT)

    @admin.display(description=_("failed events"), ordering="failed_count")
    def failed_events(self, row: ProjectionTracking) -> str:
        return self._linked(row, FailedEvent, _status(row).failed_events)

    @admin.display(description=_("skipped events"), ordering="skipped_count")
    def skipped_events(self, row: ProjectionTracking) -> str:
        return self._linked(row, SkippedEvent, _status(row).skipped_events)

    def _linked(
        self, row: ProjectionTracking, model: type[models.Model], count: int
    ) -> str:
        try:
            page = reverse(
                f"admin:django_esdb_{model._meta.model_name}_changelist",
                current_app=self.admin_site.name,
            )
        except NoReverseMatch:
            return str(count)
        query = {"projection": row.projection, "application": row.application}
        link = f"{page}?{urlencode(query)}"
        return format_html('<a href="{}">{}</a>', link, count) if count else "0"

    @admin.display(description=_("error"))
    def short_error(self, row: ProjectionTracking) -> str:
        return shown(row.error, SHORT)

    @admin.display(description=_("error"))
    def whole_error(self, row: ProjectionTracking) -> str:
        return _status(row).error

    @admin.display(description=_("traceback"))
    def place(self, row: ProjectionTracking) -> str:
        return preformatted(row.traceback)

    @admin.display(description=_("event ID"))
    def event(self, row: ProjectionTracking) -> str:
        return shown(row.event_id)

    @admin.display(description=_("advice"))
    def advice(self, row: ProjectionTracking) -> str:
        return format_html_join(
            mark_safe("<br>"), "{}", ([line] for line in _status(row).advice)
        )


@admin.register(SkippedEvent)
class SkippedEventAdmin(EventColumns, ReadModelAdmin):
    list_display = (
        *("id", "projection", "position", "event_class", "short_error"),
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


def _status(row: Any) -> ProjectionStatus:
    # Several columns ask for it.
    if "_status" not in vars(row):
        row._status = status_of(row)
    status: ProjectionStatus = row._status
    return status
