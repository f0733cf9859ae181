"""Admin pages of failed events: lists, groups, and what can be done about them."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin import ShowFacets, helpers
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from django_esdb.admin.acting import ActingAdmin, non_atomic
from django_esdb.admin.actions import (
    discard_events,
    leave_events,
    request_limits,
    retry_events,
)
from django_esdb.admin.event_columns import EventColumns
from django_esdb.admin.failed_event_groups import FailedGroup, failed_groups
from django_esdb.admin.failed_event_list import (
    MOST_COUNTED,
    FailedEventList,
    ProjectionFilter,
    WaitingFilter,
)
from django_esdb.admin.failed_event_page import PageButton, surroundings
from django_esdb.admin.read_models import showable
from django_esdb.admin.trials import trial_context, try_event
from django_esdb.models import FailedEvent, FailedEventQuerySet
from django_esdb.moments import exact_time

# A form with more fields than 1000 is refused by Django, unless it is configured.
_MOST_DISCARDED = 500
_TEMPLATES = "admin/django_esdb/failedevent"
_TIMES = ("parked", "attempted", "requested")
_PLACE = ("originator_version", "position", "application")


@admin.register(FailedEvent)
class FailedEventAdmin(EventColumns, ActingAdmin):
    """Shows failed events, of which there may be very many."""

    list_display = (
        # What is wrong comes before what a narrow window cuts off.
        *("id", "projection", "short_error", "event_class", "position"),
        *("aggregate", "originator_version", "attempts", "parked_at"),
    )
    list_filter = (ProjectionFilter, WaitingFilter)
    # Counting for each filter takes a look at all events.
    show_facets = ShowFacets.NEVER
    sortable_by = ()
    search_fields = ("originator_id", "topic", "error")
    fieldsets = (
        (None, {"fields": ("projection", "whole_error", "attempts", *_TIMES)}),
        (_("Event"), {"fields": ("event_topic", "aggregate", *_PLACE)}),
        (_("Traceback"), {"fields": ("place",)}),
    )
    readonly_fields = (
        *("id", "projection", "whole_error", "attempts", *_TIMES),
        *("event_topic", "aggregate", *_PLACE, "place"),
    )
    actions = ("retry", "discard")
    change_list_template = f"{_TEMPLATES}/list.html"
    change_form_template = f"{_TEMPLATES}/event.html"

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["django_esdb/failed_events.css"]}

    def get_urls(self) -> list[URLPattern]:
        groups = self.admin_site.admin_view(require_safe(self.groups_view))
        retry = non_atomic(self.admin_site.admin_view(require_POST(self.retry_view)))
        trial = non_atomic(self.admin_site.admin_view(require_POST(self.trial_view)))
        name = "django_esdb_failedevent_"
        return [
            path("groups/", groups, name=f"{name}groups"),
            path("<int:pk>/retry/", retry, name=f"{name}retry"),
            path("<int:pk>/trial/", trial, name=f"{name}trial"),
            *super().get_urls(),
        ]

    def get_changelist(
        self, request: HttpRequest, **kwargs: Any
    ) -> type[FailedEventList]:
        return FailedEventList

    @non_atomic
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"groups_page": self.page("groups"), **(extra_context or {})}
        return super().changelist_view(request, context)

    def groups_view(self, request: HttpRequest) -> HttpResponse:
        """Show how many events have failed of each projection, and of what."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        events: Any = self.get_queryset(request)
        found = failed_groups(events)
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Failed events by error"),
            "opts": self.opts,
            "media": self.media,
            "groups": [(each, *self._pages_of(each)) for each in found.groups],
            "has_more": found.has_more,
            "is_part": found.is_part,
        }
        request.current_app = self.admin_site.name
        return showable(TemplateResponse(request, f"{_TEMPLATES}/groups.html", context))

    def buttons(self, request: HttpRequest, event: FailedEvent) -> list[PageButton]:
        """Return what the user may do about an event on its page, in this order."""
        buttons = []
        if self.has_debug_permission(request):
            label = gettext("What would a retry do?")
            buttons.append(PageButton(label, self.page("trial", event.pk)))
        if self.has_retry_permission(request):
            buttons.append(PageButton(gettext("Retry"), self.page("retry", event.pk)))
        if self.has_discard_permission(request):
            chosen = {
                "action": "discard",
                helpers.ACTION_CHECKBOX_NAME: str(event.pk),
            }
            listed = self.page("changelist")
            discard = PageButton(gettext("Discard"), listed, chosen, is_dangerous=True)
            buttons.append(discard)
        return buttons

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        event = context["original"]
        context |= {
            # All of it pushes what stands next to it aside.
            "subtitle": gettext("%(event)s at %(position)s")
            % {"event": self.event_class(event), "position": event.position},
            "page_buttons": self.buttons(request, event),
            **surroundings(self.admin_site, request, event, self.page("changelist")),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def retry_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Process one event again, and show it if it is still there."""
        events = self._events(request, pk, may=self.has_retry_permission(request))
        event = events.first()
        if event is None:
            return self._gone(request, pk)
        for retried in retry_events([event], request.user.pk, request_limits()):
            self.tell(request, retried)
        if events.exists():
            return redirect(self.page("change", pk))
        return redirect(self.page("changelist", projection=event.projection))

    def trial_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show what a retry would change, and change nothing."""
        events = self._events(request, pk, may=self.has_debug_permission(request))
        event = events.first()
        if event is None:
            return self._gone(request, pk)
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("What a retry would do"),
            "opts": self.opts,
            "media": self.media,
            "event": event,
            "event_page": self.page("change", pk),
            **trial_context(request, try_event(event)),
        }
        request.current_app = self.admin_site.name
        return showable(TemplateResponse(request, f"{_TEMPLATES}/trial.html", context))

    def _events(self, request: HttpRequest, pk: int, *, may: bool) -> Any:
        if not (self.has_view_permission(request) and may):
            raise PermissionDenied
        return self.get_queryset(request).filter(pk=pk)

    def _gone(self, request: HttpRequest, pk: int) -> HttpResponse:
        text = gettext("There is no failed event %(number)s any more.")
        self.message_user(request, text % {"number": pk}, messages.WARNING)
        return redirect(self.page("changelist"))

    @admin.display(description=_("parked at"))
    def parked(self, event: FailedEvent) -> str:
        return exact_time(event.parked_at)

    @admin.display(description=_("attempted at"))
    def attempted(self, event: FailedEvent) -> str:
        return exact_time(event.attempted_at)

    @admin.display(description=_("retry requested at"))
    def requested(self, event: FailedEvent) -> str:
        return exact_time(event.retry_requested_at)

    @admin.action(permissions=["retry"], description=_("Retry selected events"))
    def retry(self, request: HttpRequest, events: FailedEventQuerySet) -> None:
        chosen = list(events[: MOST_COUNTED + 1])
        user = request.user.pk
        for retried in (
            leave_events(events, user)
            if len(chosen) > MOST_COUNTED
            else retry_events(chosen, user, request_limits())
        ):
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

    def page(self, name: str, *args: Any, **query: Any) -> str:
        """Return where one of these pages is."""
        found = reverse(
            f"admin:django_esdb_failedevent_{name}",
            args=args,
            current_app=self.admin_site.name,
        )
        return f"{found}?{urlencode(query)}" if query else found

    def _pages_of(self, group: FailedGroup) -> tuple[str, str]:
        listed = self.page("changelist", **group.query)
        if group.latest is None:
            return listed, ""
        return listed, self.page("change", group.latest.pk)

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
        template = f"{_TEMPLATES}/discard_confirmation.html"
        return showable(TemplateResponse(request, template, context))
