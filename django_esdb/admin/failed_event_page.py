"""What the page of a failed event shows besides its row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from eventsourcing.application import Application

from django_esdb.admin.event_reading import UnusableError, ask
from django_esdb.admin.links import link_to
from django_esdb.admin.payloads import may_read_payloads, payload_context
from django_esdb.admin.read_models import rows_of
from django_esdb.db.row_counts import counted_up_to
from django_esdb.failures.parking import is_event
from django_esdb.models import FailedEvent, FailedEventQuerySet, ProjectionTracking
from django_esdb.status.status import shown

if TYPE_CHECKING:
    from django_esdb.events.stored_events import Payload

_MOST_SHOWN = 10
_MOST_COUNTED = 1_000


@dataclass(frozen=True)
class PageButton:
    """
    Something that can be done about what a page shows.

    Attributes:
        label: What it says.
        page: Where it leads.
        fields: What is sent there by POST; None for a link.
        is_dangerous: Whether it looks like that.
    """

    label: str
    page: str
    fields: dict[str, str] | None = field(default_factory=dict)
    is_dangerous: bool = False


def surroundings(
    site: admin.AdminSite, request: HttpRequest, event: FailedEvent, listed: str
) -> dict[str, Any]:
    """
    Return what a failed event's page shows of others.

    Args:
        site: Whose pages to link.
        event: The failed event.
        listed: Where the list of failed events is.
    """
    return {
        "links": list(_links(site, request, event)),
        **_others(event, listed),
        **_payload(request, event),
    }


def _links(site: admin.AdminSite, request: HttpRequest, event: FailedEvent) -> Any:
    user = request.user
    if user.has_perm("django_esdb.view_projectiontracking"):
        rows = ProjectionTracking.objects.using(event._state.db)
        pk = (
            rows.of(event.projection, event.application)
            .values_list("pk", flat=True)
            .first()
        )
        if pk is not None:
            page = link_to(site, "django_esdb_projectiontracking_change", pk)
            yield gettext("Projection"), shown(event.projection, 100), page
    if user.has_perm("django_esdb.view_storedevent"):
        place = {"application": event.application, "position": event.position}
        page = link_to(site, "django_esdb_storedevent_event", **place)
        yield gettext("Stored event"), str(event.position), page
        place = {"application": event.application, "stream": event.originator_id}
        page = link_to(site, "django_esdb_storedevent_changelist", **place)
        aggregate = shown(event.originator_id, 100)
        yield gettext("Events of the aggregate"), aggregate, page
    for text, page in rows_of(site, request, event.originator_id):
        yield gettext("Read model"), text, page


def _others(event: FailedEvent, listed: str) -> dict[str, Any]:
    """Return the events of its aggregate that wait behind it, and what is before it."""
    rows: FailedEventQuerySet = FailedEvent.objects.using(event._state.db)
    same = (
        rows.of(event.projection, event.application)
        .of_aggregates([event.originator_id])
        .defer("traceback")
        .order_by("pk")
    )
    behind = same.filter(pk__gt=event.pk)
    count = counted_up_to(behind, _MOST_COUNTED)
    if count > _MOST_COUNTED:
        said = gettext("more than %(count)s") % {"count": _MOST_COUNTED}
    else:
        said = str(count)
    query = {
        "projection": event.projection,
        "application": event.application,
        "originator_id": event.originator_id,
    }
    return {
        "waiting": list(behind[:_MOST_SHOWN]),
        "waiting_count": said,
        "has_more_waiting": count > _MOST_SHOWN,
        "waiting_page": f"{listed}?{urlencode(query)}",
        "earlier": same.filter(pk__lt=event.pk).first(),
    }


def _payload(request: HttpRequest, event: FailedEvent) -> dict[str, Any]:
    if not may_read_payloads(request):
        return {"may_read": False}

    def look(application: Application[Any]) -> tuple[Payload, int]:
        # It loads the client library, which a site without such pages does not need.
        from django_esdb.events.stored_events import payload_of

        place = event.position
        found = application.recorder.select_notifications(place, 1, stop=place)
        for each in found:
            if is_event(event, each):
                payload = payload_of(application, each.topic, each.state)
                return payload, len(each.state)
        raise UnusableError(gettext("It is not in the event store any more."))

    try:
        return {"may_read": True, **payload_context(*ask(event.application, look))}
    except UnusableError as error:
        return {"may_read": True, "problem_of_store": str(error)}
