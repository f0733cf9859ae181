"""The dashboard at the app's own index: all projections, and what to do to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseError
from django.db import router
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_safe

from django_esdb.admin import figures
from django_esdb.admin.acting import non_atomic
from django_esdb.admin.figures import NOTHING
from django_esdb.admin.operations import OPERATIONS, Operation, Plan
from django_esdb.admin.plots import Plot, plot
from django_esdb.admin.read_models import ReadModelAdmin, showable
from django_esdb.exceptions import ConfigurationError
from django_esdb.models import FailedEvent, ProjectionState, ProjectionTracking
from django_esdb.moments import time_text
from django_esdb.registry import Registration, registry
from django_esdb.status.advice import LOST, state_label
from django_esdb.status.samples import Sample, last_hour
from django_esdb.status.status import (
    ProjectionStatus,
    place,
    projection_statuses,
    shown,
)
from eventsourcing_eventstoredb.text import named_line

_TEMPLATES = "admin/django_esdb/projectiontracking"
_KINDS = {
    ProjectionState.RUNNING.value: "well",
    ProjectionState.RETRYING.value: "odd",
    ProjectionState.STANDING_BY.value: "odd",
    ProjectionState.PAUSED.value: "bad",
    ProjectionState.FAILED.value: "bad",
    LOST: "bad",
}
_LONGEST_OWNER = 200


@dataclass(frozen=True)
class Card:
    """
    A projection as the dashboard shows it; texts are in the language that is active.

    Attributes:
        kind: ``well``, ``odd``, ``bad`` or ``off``, for colours.
        page: Where its own page is; empty if there is none.
        figures: Names and texts, each with where it leads, which may be empty.
        notes: What is to be known besides, a line each.
        buttons: What can be done, each with where that is asked.
    """

    name: str
    state: str
    kind: str
    since: str
    page: str
    figures: list[tuple[str, str, str]]
    notes: list[str]
    plot: Plot | None
    buttons: list[tuple[str, str]]


class DashboardPages(ReadModelAdmin):
    """The dashboard's views, among the pages of tracking rows."""

    def get_urls(self) -> list[URLPattern]:
        figures_view = require_safe(self.figures_view)
        methods = require_http_methods(["GET", "HEAD", "POST"])
        operation_view = non_atomic(methods(self.operation_view))
        own = [
            path(
                "figures/",
                self.admin_site.admin_view(figures_view),
                name="django_esdb_projectiontracking_figures",
            ),
            path(
                "operations/<slug:operation>/<str:name>/",
                self.admin_site.admin_view(operation_view),
                name="django_esdb_projectiontracking_operation",
            ),
        ]
        return own + super().get_urls()

    def figures_view(self, request: HttpRequest) -> HttpResponse:
        """Return the part of the dashboard that changes, which its script asks for."""
        self._require_permission(request)
        context: dict[str, Any] = {}
        try:
            context["cards"] = list(self._cards(request))
        except DatabaseError as error:
            context["problem"] = shown(named_line(error))
        return self._page(request, "figures", context)

    def operation_view(
        self, request: HttpRequest, operation: str, name: str
    ) -> HttpResponse:
        """Say what an operation is going to do to a projection, or do it."""
        self._require_permission(request)
        chosen = OPERATIONS.get(operation)
        registration = _registration(unquote(name))
        if chosen is None or registration is None:
            raise Http404
        if not chosen.is_allowed(request.user):
            raise PermissionDenied
        if request.method == "POST":
            said = chosen.run(registration, request.user.pk)
            messages.add_message(request, said.level, said.text)
            return redirect(self._dashboard())
        return self._ask(request, chosen, registration)

    def _ask(
        self, request: HttpRequest, operation: Operation, registration: Registration
    ) -> HttpResponse:
        context: dict[str, Any] = {
            "title": f"{operation.label}: {shown(registration.name, 100)}",
            "operation": operation,
            "dashboard": self._dashboard(),
        }
        try:
            status = _status(registration)
            context["is_of_use"] = operation.is_of_use(status)
            context["plan"] = (
                operation.plan(registration, status)
                if context["is_of_use"]
                else Plan([gettext("There is nothing to do.")])
            )
        except (ConfigurationError, DatabaseError) as error:
            context |= {"problem": shown(named_line(error)), "is_of_use": False}
        return self._page(request, "operation", context)

    def _cards(self, request: HttpRequest) -> Iterator[Card]:
        statuses = [each for each in projection_statuses() if each.is_registered]
        samples = last_hour(statuses)
        pages = self._pages(statuses)
        for each in statuses:
            yield self._card(
                request, each, samples.get(each.key, []), pages.get(each.key, "")
            )

    def _card(
        self,
        request: HttpRequest,
        status: ProjectionStatus,
        samples: list[Sample],
        page: str,
    ) -> Card:
        lag = status.lag
        failed = status.failed_events - status.waiting_events
        listed = self._failed_events(status)
        return Card(
            name=status.projection,
            state=state_label(status.state),
            kind=_kind(status),
            since=time_text(status.state_since),
            page=page,
            figures=[
                (gettext("Behind"), figures.events_behind(lag), ""),
                (gettext("Lag"), figures.seconds_behind(lag), ""),
                (gettext("Rate"), figures.rate(lag), ""),
                (gettext("Time left"), figures.time_left(lag), ""),
                (gettext("Failed"), figures.count_text(failed), listed),
                (
                    gettext("Waiting"),
                    figures.count_text(status.waiting_events),
                    listed,
                ),
                (
                    gettext("Owner"),
                    shown(place(status.owner), _LONGEST_OWNER) or NOTHING,
                    "",
                ),
            ],
            notes=list(_notes(status)),
            plot=plot(samples, timezone.now()),
            buttons=[
                (str(each.label), self._url("operation", each.name, status.projection))
                for each in OPERATIONS.values()
                if each.is_allowed(request.user) and each.is_of_use(status)
            ],
        )

    def _pages(
        self, statuses: list[ProjectionStatus]
    ) -> dict[tuple[str | None, str, str], str]:
        """Return where rows are shown, of those that lie where this admin looks."""
        rows = ProjectionTracking.objects.values_list("pk", "projection", "application")
        found = {
            (projection, application): self._url("change", pk)
            for pk, projection, application in rows
        }
        return {
            each.key: found.get((each.projection, each.application), "")
            for each in statuses
            if _is_listed(each, ProjectionTracking)
        }

    def _failed_events(self, status: ProjectionStatus) -> str:
        if not status.failed_events or not _is_listed(status, FailedEvent):
            return ""
        try:
            page = reverse(
                "admin:django_esdb_failedevent_changelist",
                current_app=self.admin_site.name,
            )
        except NoReverseMatch:
            # A site of its own, without these pages.
            return ""
        query = {"projection": status.projection, "application": status.application}
        return f"{page}?{urlencode(query)}"

    def _url(self, name: str, *args: Any) -> str:
        return reverse(
            f"admin:django_esdb_projectiontracking_{name}",
            args=[quote(each) for each in args],
            current_app=self.admin_site.name,
        )

    def _dashboard(self) -> str:
        return reverse(
            "admin:app_list", args=["django_esdb"], current_app=self.admin_site.name
        )

    def _require_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _page(
        self, request: HttpRequest, template: str, context: dict[str, Any]
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        whole = {
            **(self.admin_site.each_context(request) if template != "figures" else {}),
            "opts": self.opts,
            "media": self.media,
            "figures_url": self._url("figures"),
            "now": time_text(timezone.now()),
            **context,
        }
        return showable(
            TemplateResponse(request, f"{_TEMPLATES}/{template}.html", whole)
        )


def _is_listed(status: ProjectionStatus, model: type[Model]) -> bool:
    """Return whether a projection's rows of a model are among those that it lists."""
    # They may be read from a replica.
    return status.database in (router.db_for_read(model), router.db_for_write(model))


def _registration(name: str) -> Registration | None:
    return registry.get(name) if registry.is_registered(name) else None


def _status(registration: Registration) -> ProjectionStatus:
    return next(
        each
        for each in projection_statuses()
        if each.is_registered and each.projection == registration.name
    )


def _kind(status: ProjectionStatus) -> str:
    kind = _KINDS.get(status.state, "off")
    return kind if kind == "bad" or status.is_well else "odd"


def _notes(status: ProjectionStatus) -> Iterator[str]:
    lag = status.lag
    if lag.unknown_since is not None:
        yield gettext("The event store cannot be asked since %(time)s.") % {
            "time": time_text(lag.unknown_since)
        }
    elif not lag.is_current and lag.measured_at is not None:
        yield gettext("The lag was last measured at %(time)s.") % {
            "time": time_text(lag.measured_at)
        }
    if status.error:
        yield status.error
    yield from status.advice
