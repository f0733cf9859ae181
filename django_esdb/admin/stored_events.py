"""Admin pages that show what lies in the event store, and change nothing there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe
from eventsourcing.application import Application
from eventsourcing.persistence import (
    InfrastructureFactoryError,
    PersistenceError,
    ProgrammingError,
)

from django_esdb.admin.read_models import ReadModelAdmin, showable
from django_esdb.applications import get_application
from django_esdb.exceptions import ConfigurationError
from django_esdb.models import StoredEvent
from django_esdb.registry import registry
from django_esdb.status.status import shown
from django_esdb.store_address import store_hint
from django_esdb.stored_events import Payload, StoredEvents, parse_since
from eventsourcing_eventstoredb import store_deadline
from eventsourcing_eventstoredb.browsing import BrowsedEvent, Page
from eventsourcing_eventstoredb.metadata import CAUSATION_ID, CORRELATION_ID

_PAGE_SIZE = 50
# A page comes within two seconds, also where the store is silent.
_SECONDS = 1.5
_MOST_LOOKED_AT = 20_000
# Streams into which EventStoreDB's own projections put links. In others of its own
# are what it knows of its users and what it is configured with.
_CORRELATION_PREFIX = "$bc-"
_LINK_PREFIXES = (_CORRELATION_PREFIX, "$ce-", "$et-", "$category-")
_MARKS = {"compressed": _("compressed"), "encrypted": _("encrypted")}
_SILENT = 503
_TEMPLATES = "admin/django_esdb/storedevent"

T = TypeVar("T")


class _SinceField(forms.CharField):
    def clean(self, value: Any) -> datetime | None:
        text: str = super().clean(value)
        if not text:
            return None
        try:
            return parse_since(text)
        except ValueError as error:
            raise forms.ValidationError(
                _("This is no time, such as 2026-11-26T09:30, and no time ago, as 2h.")
            ) from error


class EventFilterForm(forms.Form):
    """Which events to show."""

    application = forms.ChoiceField(label=_("Application"))
    stream = forms.CharField(label=_("Aggregate's ID or stream"), required=False)
    # Django's own of this name is for forms next to each other.
    prefix = forms.CharField(  # type: ignore[assignment]
        label=_("Streams that begin with"), required=False
    )
    topic = forms.CharField(label=_("Topic, whole"), required=False)
    since = _SinceField(
        label=_("Since"),
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "2h"}),
    )
    before = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**63 - 1,
        widget=forms.HiddenInput,
    )

    def __init__(self, data: Any, names: list[str]) -> None:
        super().__init__(data)
        field: Any = self.fields["application"]
        field.choices = [(name, name) for name in names]

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        if found.get("stream") and found.get("prefix"):
            raise forms.ValidationError(
                _("Give a stream, or what streams begin with, not both.")
            )
        if found.get("stream", "").startswith("$") and not _is_shown(found["stream"]):
            raise forms.ValidationError(
                _("EventStoreDB's own streams are not shown, but for those of links.")
            )
        return found


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


class _UnusableError(Exception):
    """Nothing can be shown; the text, which can be shown, says why."""

    def __init__(self, text: str, status: int = 200) -> None:
        super().__init__(text)
        self.status = status


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
        except _UnusableError as error:
            context["problem"], status = str(error), error.status
        return self._page(request, "list", gettext("Stored events"), context, status)

    def event_view(self, request: HttpRequest) -> HttpResponse:
        """Show one event, by its application and position."""
        self._require_permission(request)
        context: dict[str, Any] = {}
        status = 200
        try:
            context = self._whole(request, *_place(request))
        except _UnusableError as error:
            context["problem"], status = str(error), error.status
        return self._page(request, "event", gettext("Stored event"), context, status)

    def cause_view(self, request: HttpRequest) -> HttpResponse:
        """Lead to the event that has caused one, by that one's place."""
        self._require_permission(request)
        if not _may_read(request):
            raise PermissionDenied
        context, status = {}, 200
        try:
            application, position = _place(request)
            # Several applications may be asked, in the time for one.
            with store_deadline(_SECONDS):
                return redirect(self._cause(application, position))
        except _UnusableError as error:
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
                prefix = wanted["prefix"]
                page = browser.newest(_PAGE_SIZE, stream_prefix=prefix, **found)
                return page, "", ""
            stream = browser.stream_named(wanted["stream"])
            if not _is_shown(stream, stored):
                raise _UnusableError(_not_own())
            page = browser.stream(stream, _PAGE_SIZE, **found)
            return page, stream, browser.aggregate_of(stream)

        page, stream, aggregate = _read(name, look)
        older = ""
        if page.next_before is not None:
            older = _with(request, before=str(page.next_before))
        return {
            "rows": [self._row(name, event) for event in page.events],
            "stream": stream,
            "older": older,
            "newest": "" if wanted["before"] is None else _with(request, before=""),
            "is_short": bool(older) and len(page.events) < _PAGE_SIZE,
            "read_models": list(self._read_models(request, aggregate)),
        }

    def _whole(self, request: HttpRequest, name: str, position: int) -> dict[str, Any]:
        may_read = _may_read(request)

        def look(stored: StoredEvents) -> tuple[BrowsedEvent, Payload, str]:
            event = _event_at(stored, position)
            payload = stored.payload(event) if may_read else Payload(None)
            return event, payload, stored.browser.aggregate_of(event.stream)

        event, payload, aggregate = _read(name, look)
        context: dict[str, Any] = {
            "application": name,
            "row": self._row(name, event),
            "may_read": may_read,
            "read_models": list(self._read_models(request, aggregate)),
        }
        if not may_read:
            return context
        place = {"application": name, "position": event.position}
        return context | {
            "size": len(event.data),
            "payload": "" if payload.problem else _pretty(payload.value),
            "problem_of_payload": shown(payload.problem),
            "marks": [_MARKS[mark] for mark in payload.marks],
            "metadata": [
                (key, value, self._metadata_link(key, value, place))
                for key, value in event.metadata.items()
            ],
        }

    def _cause(self, name: str, position: int) -> str:
        """Return where the page of the event is that has caused one."""

        def look(stored: StoredEvents) -> str:
            return _event_at(stored, position).metadata.get(CAUSATION_ID, "")

        cause = _read(name, look)
        if not cause:
            raise _UnusableError(gettext("What has caused this event is not known."))

        def search(stored: StoredEvents) -> BrowsedEvent | None:
            return stored.browser.with_id(cause, position, most=_MOST_LOOKED_AT)

        # What one application does may have its cause in another one.
        for each in sorted(_names(), key=lambda other: other != name):
            try:
                event = _read(each, search)
            except _UnusableError as error:
                if each == name or error.status == _SILENT:
                    raise
                continue
            if event is not None:
                return self._url("event", application=each, position=event.position)
        raise _UnusableError(
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
            _time(event.time),
            kind,
            event.topic.rpartition(":")[2] or event.topic,
            self._url("event", application=name, position=event.position),
            self._url("changelist", application=name, stream=event.stream),
            self._url("changelist", application=name, topic=event.topic),
            target_page,
        )

    def _metadata_link(self, key: str, value: str, place: dict[str, Any]) -> str:
        if key == CORRELATION_ID:
            stream = f"{_CORRELATION_PREFIX}{value}"
            return self._url(
                "changelist", application=place["application"], stream=stream
            )
        return self._url("cause", **place) if key == CAUSATION_ID else ""

    def _read_models(
        self, request: HttpRequest, aggregate: str
    ) -> Iterator[tuple[str, str]]:
        """Yield the rows that are made of an aggregate's events, and their pages."""
        if not aggregate:
            return
        for model, model_admin in self.admin_site._registry.items():
            if not isinstance(model_admin, ReadModelAdmin):
                continue
            if not model_admin.has_view_permission(request):
                continue
            row = model_admin.row_of_stream(request, aggregate)
            if row is not None:
                opts = model._meta
                page = reverse(
                    f"admin:{opts.app_label}_{opts.model_name}_change",
                    args=[row.pk],
                    current_app=self.admin_site.name,
                )
                yield f"{opts.verbose_name}: {shown(str(row), 100)}", page

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


def _names() -> list[str]:
    return sorted({each.application_name for each in registry})


def _application_class(name: str) -> type[Application[Any]]:
    for each in registry:
        if each.application_name == name:
            return each.application_class
    raise _UnusableError(gettext("There is no such application."))


def _form(request: HttpRequest) -> EventFilterForm:
    names = _names()
    data = request.GET.copy()
    if names and not data.get("application"):
        data["application"] = names[0]
    return EventFilterForm(data, names)


def _place(request: HttpRequest) -> tuple[str, int]:
    position = request.GET.get("position", "")
    if not (position.isascii() and position.isdecimal() and len(position) < 20):
        raise _UnusableError(_nothing_there())
    return request.GET.get("application", ""), int(position)


def _read(name: str, look: Callable[[StoredEvents], T]) -> T:
    """
    Look at the events of an application.

    Raises:
        _UnusableError: That is not possible.
    """
    application_class = _application_class(name)
    try:
        with store_deadline(_SECONDS):
            return look(StoredEvents(get_application(application_class)))
    except (InfrastructureFactoryError, ConfigurationError) as error:
        raise _UnusableError(shown(str(error))) from error
    except ProgrammingError as error:
        raise _UnusableError(_nothing_there()) from error
    except PersistenceError as error:
        text = gettext(
            "The event store cannot be used now, or does not find this in time: "
            "%(reason)s"
        ) % {"reason": shown(f"{error}{store_hint(application_class, error)}")}
        raise _UnusableError(text, _SILENT) from error


def _event_at(stored: StoredEvents, position: int) -> BrowsedEvent:
    event = stored.browser.at(position)
    if event is None:
        raise _UnusableError(_nothing_there())
    if not _is_shown(event.stream, stored):
        raise _UnusableError(_not_own())
    return event


def _is_shown(stream: str, stored: StoredEvents | None = None) -> bool:
    if stream.startswith("$"):
        return stream.startswith(_LINK_PREFIXES)
    return stored is None or stored.browser.is_own_stream(stream)


def _nothing_there() -> str:
    return gettext("There is no event at this position.")


def _not_own() -> str:
    return gettext("This is no stream of the application.")


def _may_read(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("django_esdb.view_payload"))


def _with(request: HttpRequest, **changes: str) -> str:
    data = request.GET.copy()
    for key, value in changes.items():
        data[key] = value
        if not value:
            del data[key]
    return f"?{data.urlencode()}"


def _time(value: datetime | None) -> str:
    # Neither shortened nor by language, so that it can be compared and searched for.
    if value is None:
        return "-"
    return f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S.%f %Z}"


def _pretty(value: Any) -> str:
    try:
        return json.dumps(value, indent=2, ensure_ascii=False)
    except RecursionError:
        # Laying it out takes more of the stack.
        return json.dumps(value, ensure_ascii=False)
