"""Admin pages of projections: what each is at, and the dashboard of all."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _

from django_esdb.admin import figures
from django_esdb.admin.acting import ActingAdmin
from django_esdb.admin.actions import request_limits, retry_projection
from django_esdb.admin.dashboard import DashboardPages
from django_esdb.admin.event_columns import SHORT, preformatted
from django_esdb.admin.figures import NOTHING
from django_esdb.models import FailedEvent, ProjectionTracking, SkippedEvent
from django_esdb.moments import time_text
from django_esdb.registered_names import BESIDE
from django_esdb.status.advice import state_label
from django_esdb.status.rows import with_details
from django_esdb.status.status import ProjectionStatus, place, shown, status_of

_HEALTH = (
    *("whole_name", "application", "current_state", "since", "advice"),
    *("seconds_behind", "events_behind", "rate", "time_left", "measured"),
    *("whole_error", "where", "attempts"),
    *("failed_events", "waiting_events", "skipped_events"),
)
_POSITION = (
    *("position", "moved", "processed", "head", "head_time"),
    *("event_position", "event", "recorded"),
)
_TECHNICAL = (
    *("process", "whole_owner", "until", "token"),
    *("attempted_position", "attempted_until", "definition"),
)


@admin.register(ProjectionTracking)
class ProjectionTrackingAdmin(DashboardPages, ActingAdmin):
    # What is wrong comes before what a narrow window cuts off.
    list_display = (
        *("name", "current_state", "seconds_behind", "events_behind", "rate"),
        *("failed_events", "skipped_events", "short_error", "advice"),
        *("application", "position", "moved", "since", "process", "until"),
    )
    list_filter = ("application", "state")
    search_fields = ("projection", "application")
    fieldsets = (
        (_("Health"), {"fields": _HEALTH}),
        (_("Position"), {"fields": _POSITION}),
        (_("Technical"), {"fields": _TECHNICAL}),
    )
    readonly_fields = (*_HEALTH, *_POSITION, *_TECHNICAL)
    actions = ("retry",)

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["django_esdb/dashboard.css"]}

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: Any = super().get_queryset(request)
        # What is built next to a projection's rows is shown with that.
        return with_details(rows.exclude(projection__endswith=BESIDE))

    @admin.action(
        permissions=["retry"],
        description=_("Retry failed events, and resume if paused"),
    )
    def retry(self, request: HttpRequest, rows: models.QuerySet[Any]) -> None:
        limits = request_limits()
        for row in rows:
            self.tell(request, retry_projection(row, request.user.pk, limits))

    @admin.display(description=_("projection"), ordering="projection")
    def name(self, row: ProjectionTracking) -> str:
        name = shown(row.projection)
        return format_html('<span class="esdb-cut" title="{}">{}</span>', name, name)

    @admin.display(description=_("projection"))
    def whole_name(self, row: ProjectionTracking) -> str:
        return shown(row.projection)

    @admin.display(description=_("state"), ordering="state")
    def current_state(self, row: ProjectionTracking) -> str:
        return state_label(_status(row).state)

    @admin.display(description=_("since"), ordering="state_since")
    def since(self, row: ProjectionTracking) -> str:
        return time_text(_status(row).state_since)

    @admin.display(description=_("behind"))
    def events_behind(self, row: ProjectionTracking) -> str:
        return figures.events_behind(_status(row).lag)

    @admin.display(description=_("lag"))
    def seconds_behind(self, row: ProjectionTracking) -> str:
        return figures.seconds_behind(_status(row).lag)

    @admin.display(description=_("rate"))
    def rate(self, row: ProjectionTracking) -> str:
        return figures.rate(_status(row).lag)

    @admin.display(description=_("time left"))
    def time_left(self, row: ProjectionTracking) -> str:
        return figures.time_left(_status(row).lag)

    @admin.display(description=_("measured at"))
    def measured(self, row: ProjectionTracking) -> str:
        return time_text(_status(row).lag.measured_at)

    @admin.display(description=_("failed events"), ordering="failed_count")
    def failed_events(self, row: ProjectionTracking) -> str:
        return self._linked(row, FailedEvent, _status(row).failed_events)

    @admin.display(description=_("waiting events"), ordering="waiting_count")
    def waiting_events(self, row: ProjectionTracking) -> str:
        return figures.count_text(_status(row).waiting_events)

    @admin.display(description=_("skipped events"), ordering="skipped_count")
    def skipped_events(self, row: ProjectionTracking) -> str:
        return self._linked(row, SkippedEvent, _status(row).skipped_events)

    @admin.display(description=_("error"))
    def short_error(self, row: ProjectionTracking) -> str:
        return shown(row.error, SHORT) or NOTHING

    @admin.display(description=_("error"))
    def whole_error(self, row: ProjectionTracking) -> str:
        return _status(row).error or NOTHING

    @admin.display(description=_("traceback"))
    def where(self, row: ProjectionTracking) -> str:
        return preformatted(row.traceback) or NOTHING

    @admin.display(description=_("advice"))
    def advice(self, row: ProjectionTracking) -> str:
        lines = _status(row).advice
        if not lines:
            return NOTHING
        return format_html_join(mark_safe("<br>"), "{}", ([line] for line in lines))

    @admin.display(description=_("updated at"), ordering="updated_at")
    def moved(self, row: ProjectionTracking) -> str:
        return time_text(row.updated_at)

    @admin.display(description=_("head"))
    def head(self, row: ProjectionTracking) -> str:
        head = _status(row).lag.head
        return NOTHING if head is None else str(head)

    @admin.display(description=_("head's time"))
    def head_time(self, row: Any) -> str:
        lag = getattr(row, "lag", None)
        return NOTHING if lag is None else time_text(lag.head_time)

    @admin.display(description=_("event ID"))
    def event(self, row: ProjectionTracking) -> str:
        return shown(row.event_id) or NOTHING

    @admin.display(description=_("event time"))
    def recorded(self, row: ProjectionTracking) -> str:
        return time_text(row.event_time)

    @admin.display(description=_("owner"), ordering="owner")
    def process(self, row: ProjectionTracking) -> str:
        return shown(place(row.owner), SHORT) or NOTHING

    @admin.display(description=_("owner's whole name"))
    def whole_owner(self, row: ProjectionTracking) -> str:
        return shown(row.owner) or NOTHING

    @admin.display(description=_("leased until"), ordering="leased_until")
    def until(self, row: ProjectionTracking) -> str:
        return time_text(_status(row).leased_until)

    @admin.display(description=_("fingerprint"))
    def definition(self, row: ProjectionTracking) -> str:
        return shown(row.fingerprint) or NOTHING

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


def _status(row: Any) -> ProjectionStatus:
    # Several columns ask for it.
    if "_status" not in vars(row):
        row._status = status_of(row)
    status: ProjectionStatus = row._status
    return status
