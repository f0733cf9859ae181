"""Admin pages for tracking and failed events, and the base for read models."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db import connections, models, transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_esdb.admin.actions import (
    Retried,
    discard_events,
    request_limits,
    retry_events,
    retry_projection,
)
from django_esdb.admin.read_models import ReadModelAdmin
from django_esdb.models import (
    FailedEvent,
    ProjectionTracking,
    SkippedEvent,
    UnprocessedEvent,
)
from django_esdb.status.advice import state_label
from django_esdb.status.rows import with_details
from django_esdb.status.status import (
    ProjectionStatus,
    local,
    place,
    shown,
    shown_lines,
    status_of,
)

__all__ = [
    "FailedEventAdmin",
    "ProjectionTrackingAdmin",
    "ReadModelAdmin",
    "SkippedEventAdmin",
]


# Longest text in a list; a page of its own has all of it.
_SHORT = 200
# A form with more fields than 1000 is refused by Django, unless it is configured.
_MOST_DISCARDED = 500
_NOT_TRIED = _("not tried: an earlier event of its aggregate has failed")
_CONFIRMATION = "admin/django_esdb/failedevent/discard_confirmation.html"


class _ActingAdmin(ReadModelAdmin):
    """Shows what cannot be edited, yet can be acted upon with some permission."""

    show_full_result_count = False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, extra_context)

    # Each event has a transaction of its own, whatever ATOMIC_REQUESTS says.
    for _alias in connections:
        changelist_view = transaction.non_atomic_requests(_alias)(changelist_view)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return _may(request, "retry")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return _may(request, "discard")

    def tell(self, request: HttpRequest, retried: Retried) -> None:
        """Show what came of a retry above the next page."""
        self.message_user(request, retried.text, retried.level)


@admin.register(ProjectionTracking)
class ProjectionTrackingAdmin(_ActingAdmin):
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
        return shown(place(row.owner), _SHORT)

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
        return shown(row.error, _SHORT)

    @admin.display(description=_("error"))
    def whole_error(self, row: ProjectionTracking) -> str:
        return _status(row).error

    @admin.display(description=_("traceback"))
    def place(self, row: ProjectionTracking) -> str:
        return _preformatted(row.traceback)

    @admin.display(description=_("event ID"))
    def event(self, row: ProjectionTracking) -> str:
        return shown(row.event_id)

    @admin.display(description=_("advice"))
    def advice(self, row: ProjectionTracking) -> str:
        return format_html_join(
            mark_safe("<br>"), "{}", ([line] for line in _status(row).advice)
        )


class WaitingFilter(admin.SimpleListFilter):
    """Tells events that have failed from those that wait behind one."""

    title = _("waits behind another")
    parameter_name = "waits"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", gettext("Yes")), ("no", gettext("No"))]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        if self.value() == "yes":
            return queryset.filter(error="")
        if self.value() == "no":
            return queryset.exclude(error="")
        return queryset


class _EventPages:
    """Columns of events that were not processed."""

    @admin.display(description=_("aggregate"), ordering="originator_id")
    def aggregate(self, event: UnprocessedEvent) -> str:
        return shown(event.originator_id, _SHORT)

    @admin.display(description=_("event"), ordering="topic")
    def event_class(self, event: UnprocessedEvent) -> str:
        return shown(event.topic.rpartition(":")[2], _SHORT)

    @admin.display(description=_("topic"))
    def event_topic(self, event: UnprocessedEvent) -> str:
        return shown(event.topic)

    @admin.display(description=_("error"))
    def short_error(self, event: UnprocessedEvent) -> str:
        return shown(event.error, _SHORT) or str(_NOT_TRIED)

    @admin.display(description=_("error"))
    def whole_error(self, event: UnprocessedEvent) -> str:
        return shown(event.error) or str(_NOT_TRIED)

    @admin.display(description=_("traceback"))
    def place(self, event: UnprocessedEvent) -> str:
        return _preformatted(event.traceback)


@admin.register(FailedEvent)
class FailedEventAdmin(_EventPages, _ActingAdmin):
    list_display = (
        *("id", "projection", "position", "event_class", "short_error"),
        *("aggregate", "originator_version", "attempts", "parked_at"),
    )
    list_filter = ("projection", WaitingFilter)
    search_fields = ("originator_id", "topic")
    fields = (
        *("id", "projection", "application", "position"),
        *("aggregate", "originator_version", "event_topic"),
        *("whole_error", "place", "attempts", "parked_at", "attempted_at"),
        "retry_requested_at",
    )
    readonly_fields = fields
    actions = ("retry", "discard")

    @admin.action(permissions=["retry"], description=_("Retry selected events"))
    def retry(self, request: HttpRequest, events: models.QuerySet[Any]) -> None:
        for retried in retry_events(events, request.user.pk, request_limits()):
            self.tell(request, retried)

    @admin.action(permissions=["discard"], description=_("Discard selected events"))
    def discard(
        self, request: HttpRequest, events: models.QuerySet[Any]
    ) -> HttpResponse | None:
        chosen = list(events[: _MOST_DISCARDED + 1])
        if len(chosen) > _MOST_DISCARDED:
            text = gettext(
                "At most %(count)s events can be discarded at once; for more use "
                "manage.py discardfailedevents"
            ) % {"count": _MOST_DISCARDED}
            self.message_user(request, text, messages.ERROR)
            return None
        if "confirmed" not in request.POST:
            return self._confirmation(request, chosen)
        discarded, failure = discard_events(chosen, request.user.pk)
        text = ngettext(
            "%(count)s discarded", "%(count)s discarded", len(discarded)
        ) % {"count": len(discarded)}
        if failure:
            text = gettext("%(done)s, then: %(reason)s") % {
                "done": text,
                "reason": failure,
            }
            self.message_user(request, text, messages.ERROR)
        else:
            self.message_user(request, text, messages.SUCCESS)
        return None

    def _confirmation(
        self, request: HttpRequest, events: list[FailedEvent]
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Discard failed events"),
            "opts": self.opts,
            "media": self.media,
            "events": events,
            "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            "back": request.get_full_path(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, _CONFIRMATION, context)


@admin.register(SkippedEvent)
class SkippedEventAdmin(_EventPages, ReadModelAdmin):
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


def _preformatted(text: str) -> str:
    return format_html("<pre>{}</pre>", shown_lines(text)) if text else ""


def _may(request: HttpRequest, what: str) -> bool:
    return bool(request.user.has_perm(f"django_esdb.{what}_failedevent"))


def _status(row: Any) -> ProjectionStatus:
    # Several columns ask for it.
    if "_status" not in vars(row):
        row._status = status_of(row)
    status: ProjectionStatus = row._status
    return status
