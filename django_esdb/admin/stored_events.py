"""Admin pages that show what lies in the event store, and change nothing there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_safe
from eventsourcing.persistence import OperationalError

from django_esdb.admin import event_reading
from django_esdb.admin.event_filter import CORRELATION_PREFIX, EventFilterForm
from django_esdb.admin.event_reading import (
    SILENT,
    UnusableError,
    application_names,
    event_at,
    is_own,
    not_own,
    nothing_there,
    read,
)
from django_esdb.admin.payloads import may_read_payloads, payload_context
from django_esdb.admin.read_models import ReadModelAdmin, rows_of, showable
from django_esdb.models import StoredEvent
from django_esdb.moments import exact_time
from django_esdb.status.status import shown
from eventsourcing_eventstoredb import store_deadline
from eventsourcing_eventstoredb.metadata import CAUSATION_ID, CORRELATION_ID

if TYPE_CHECKING:
    from django_esdb.events.stored_events import Payload, StoredEvents
    from eventsourcing_eventstoredb.browsing.browser import (
        BrowsedEvent,
        Page,
        StoreBrowser,
    )

_PAGE_SIZE = 50
_MOST_LOOKED_AT = 20_000
# How long the server may look for events of a topic or streams with a prefix.
_PICKING_SECONDS = 0.75
_TEMPLATES = "admin/django_esdb/storedevent"


@dataclass(frozen=True)
class _Row:
    """An event in a list or on its page, with where its parts lead."""

    event: BrowsedEvent
    time: str
    kind: str
    name: str
    page: str
    stream_page: str
    topic_page: str
    target_page: str = ""


@admin.register(StoredEvent)
class StoredEventAdmin(ReadModelAdmin):
    """
    Shows events as they lie in EventStoreDB.

    Who has the permission to view stored events sees that there are some, of which
    topic and when; what they say and what is said about them takes ``view_payload``.
    """

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["django_esdb/stored_events.css"]}

    def get_urls(self) -> list[URLPattern]:
        views = (
            ("", self.changelist_view, "changelist"),
            ("event/", self.event_view, "event"),
            ("cause/", self.cause_view, "cause"),
        )
        return [
            path(
                route,
                self.admin_site.admin_view(require_safe(view)),
                name=f"django_esdb_storedevent_{name}",
            )
            for route, view, name in views
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show some events, newest first."""
        self._require_permission(request)
        form = _form(request)
        context: dict[str, Any] = {"form": form, **(extra_context or {})}
        status = 200
        try:
            if form.is_valid():
                context |= self._listed(request, form.cleaned_data)
        except UnusableError as error:
            context["problem"], status = str(error), error.status
        return self._page(request, "list", gettext("Stored events"), context, status)

    def event_view(self, request: HttpRequest) -> HttpResponse:
        """Show one event, by its application and position."""
        self._require_permission(request)
        context: dict[str, Any] = {}
        status = 200
        try:
            context = self._whole(request, *_place(request))
        except UnusableError as error:
            context["problem"], status = str(error), error.status
        return self._page(request, "event", gettext("Stored event"), context, status)

    def cause_view(self, request: HttpRequest) -> HttpResponse:
        """Lead to the event that has caused one, by that one's place."""
        self._require_permission(request)
        if not may_read_payloads(request):
            raise PermissionDenied
        context, status = {}, 200
        try:
            application, position = _place(request)
            # Several applications may be asked, in the time for one.
            with store_deadline(event_reading.SECONDS):
                return redirect(self._cause(application, position))
        except UnusableError as error:
            context["problem"], status = str(error), error.status
        return self._page(request, "event", gettext("Stored event"), context, status)

    def _listed(self, request: HttpRequest, wanted: dict[str, Any]) -> dict[str, Any]:
        name = wanted["application"]
        topics = (wanted["topic"],) if wanted["topic"] else ()
        found: dict[str, Any] = {
            "before": wanted["before"],
            "topics": topics,
            "since": wanted["since"],
            "most": _MOST_LOOKED_AT,
        }

        def look(stored: StoredEvents) -> tuple[Page, str, str]:
            browser = stored.browser
            if not wanted["stream"]:
                return _newest(browser, found | {"stream_prefix": wanted["prefix"]})
            stream = browser.stream_named(wanted["stream"])
            if not is_own(stream, stored):
                raise UnusableError(not_own())
            page = browser.stream(stream, _PAGE_SIZE, **found)
            return page, stream, browser.aggregate_of(stream)

        page, stream, aggregate = read(name, look)
        older = ""
        if page.next_before is not None:
            older = _with(request, before=str(page.next_before))
        return {
            "rows": [self._row(name, event) for event in page.events],
            "stream": stream,
            "older": older,
            "newest": "" if wanted["before"] is None else _with(request, before=""),
            "is_short": bool(older) and len(page.events) < _PAGE_SIZE,
            "read_models": list(rows_of(self.admin_site, request, aggregate)),
        }

    def _whole(self, request: HttpRequest, name: str, position: int) -> dict[str, Any]:
        may_read = may_read_payloads(request)

        def look(stored: StoredEvents) -> tuple[BrowsedEvent, Payload | None, str]:
            event = event_at(stored, position)
            payload = stored.payload(event) if may_read else None
            return event, payload, stored.browser.aggregate_of(event.stream)

        event, payload, aggregate = read(name, look)
        context: dict[str, Any] = {
            "application": name,
            "row": self._row(name, event),
            "may_read": may_read,
            "read_models": list(rows_of(self.admin_site, request, aggregate)),
        }
        if payload is None:
            return context
        place = {"application": name, "position": event.position}
        return context | {
            **payload_context(payload, len(event.data)),
            "metadata": [
                (key, value, self._metadata_link(key, value, place))
                for key, value in event.metadata.items()
            ],
        }

    def _cause(self, name: str, position: int) -> str:
        """Return where the page of the event is that has caused one."""

        def look(stored: StoredEvents) -> str:
            return event_at(stored, position).metadata.get(CAUSATION_ID, "")

        cause = read(name, look)
        if not cause:
            raise UnusableError(gettext("What has caused this event is not known."))

        def search(stored: StoredEvents) -> BrowsedEvent | None:
            return stored.browser.with_id(cause, position, most=_MOST_LOOKED_AT)

        # What one application does may have its cause in another one.
        for each in sorted(application_names(), key=lambda other: other != name):
            try:
                event = read(each, search)
            except UnusableError as error:
                if each == name or error.status == SILENT:
                    raise
                continue
            if event is not None:
                return self._url("event", application=each, position=event.position)
        raise UnusableError(
            gettext(
                "The event with the ID %(id)s, which has caused this one, is not among "
                "those shortly before it."
            )
            % {"id": shown(cause)}
        )

    def _row(self, name: str, event: BrowsedEvent) -> _Row:
        kind = gettext("snapshot") if event.is_snapshot else gettext("event")
        target_page = ""
        if event.target is not None:
            kind = gettext("link")
            stream, place = event.target
            target_page = self._url(
                "changelist", application=name, stream=stream, before=place + 1
            )
        return _Row(
            event,
            exact_time(event.time),
            kind,
            event.topic.rpartition(":")[2] or event.topic,
            self._url("event", application=name, position=event.position),
            self._url("changelist", application=name, stream=event.stream),
            self._url("changelist", application=name, topic=event.topic),
            target_page,
        )

    def _metadata_link(self, key: str, value: str, place: dict[str, Any]) -> str:
        if key == CORRELATION_ID:
            stream = f"{CORRELATION_PREFIX}{value}"
            return self._url(
                "changelist", application=place["application"], stream=stream
            )
        return self._url("cause", **place) if key == CAUSATION_ID else ""

    def _url(self, name: str, **query: Any) -> str:
        page = reverse(
            f"admin:django_esdb_storedevent_{name}", current_app=self.admin_site.name
        )
        return f"{page}?{urlencode(query)}"

    def _require_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _page(
        self,
        request: HttpRequest,
        template: str,
        title: str,
        context: dict[str, Any],
        status: int,
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        whole = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
            **context,
        }
        return showable(
            TemplateResponse(
                request, f"{_TEMPLATES}/{template}.html", whole, status=status
            )
        )


def _newest(browser: StoreBrowser, found: dict[str, Any]) -> tuple[Page, str, str]:
    if found["topics"] or found["stream_prefix"]:
        with suppress(OperationalError), store_deadline(_PICKING_SECONDS):
            return browser.newest(_PAGE_SIZE, **found), "", ""
    # The server does not say how far it has come; here that can be told.
    return browser.newest(_PAGE_SIZE, looks_through=True, **found), "", ""


def _form(request: HttpRequest) -> EventFilterForm:
    names = application_names()
    data = request.GET.copy()
    if names and not data.get("application"):
        data["application"] = names[0]
    return EventFilterForm(data, names)


def _place(request: HttpRequest) -> tuple[str, int]:
    position = request.GET.get("position", "")
    if not (position.isascii() and position.isdecimal() and len(position) < 20):
        raise UnusableError(nothing_there())
    return request.GET.get("application", ""), int(position)


def _with(request: HttpRequest, **changes: str) -> str:
    data = request.GET.copy()
    for key, value in changes.items():
        data[key] = value
        if not value:
            del data[key]
    return f"?{data.urlencode()}"
