"""
A list of failed events of which each page costs the same, however many there are.

Pages follow each other by the events' numbers, which are in the order in which events
failed: nothing is sorted or passed over. What no index can find, such as text in
errors, is looked for among so many events for each page.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views import main
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_esdb.db.row_counts import counted_up_to, estimated_rows
from django_esdb.models import ProjectionTracking
from django_esdb.registry import registry
from django_esdb.status.status import shown

# How many events are looked at for a page, where no index finds them.
MOST_LOOKED_AT = 25_000
MOST_COUNTED = 10_000

_AFTER = "after"
_AGGREGATE = "originator_id"
_NARROWED = {
    "projection": _("projection"),
    "application": _("application"),
    "error_kind": _("kind of error"),
    _AGGREGATE: _("aggregate"),
}
_TRACKED = {"projection", "application"}
_NO_FILTERS = {*main.IGNORED_PARAMS, main.PAGE_VAR, main.ERROR_FLAG}


class ProjectionFilter(admin.SimpleListFilter):
    """Projections by name; the table of failed events is not asked which there are."""

    title = _("projection")
    parameter_name = "projection"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        tracked = ProjectionTracking.objects.values_list("projection", flat=True)
        names = {*tracked, *(each.name for each in registry)}
        return [(name, shown(name, 100)) for name in sorted(names)]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        name = self.value()
        return queryset if name is None else queryset.filter(projection=name)


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
            return queryset.filter(error="", error_kind="")
        if self.value() == "no":
            return queryset.exclude(error="")
        return queryset


class FailedEventList(main.ChangeList):
    """
    The change list, with pages that follow each other.

    Attributes:
        count_text: How many there are, as far as that can be told.
        next_page: Where the next page is; empty on the last one.
        first_page: Where the first one is; empty on that.
        is_short: Whether it ends since so many events were looked at.
        narrowed: What it is narrowed to without a filter that says so.
    """

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: Any = None
    ) -> models.QuerySet[Any]:
        self.after = self._taken(_AFTER)
        asked = set(self.filter_params) - _NO_FILTERS
        self._is_whole = not (self.query or asked)
        self._is_indexed = not self.query and _is_indexed(asked)
        self.narrowed = [
            (text, shown(self.params[name]))
            for name, text in _NARROWED.items()
            if name in asked
        ]
        found = super().get_queryset(request, exclude_parameters).defer("traceback")
        if aggregate := self.params.get(_AGGREGATE):
            rows: Any = found
            found = rows.of_aggregates([aggregate])
        return found

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:
        return ["pk"]

    def get_results(self, request: HttpRequest) -> None:
        following = self.queryset.filter(pk__gt=self.after)
        last = None if self._is_indexed else self._last_looked_at()
        if last is not None:
            following = following.filter(pk__lte=last)
        events = list(following[: self.list_per_page + 1])
        is_whole = len(events) > self.list_per_page
        events = events[: self.list_per_page]
        next_after = events[-1].pk if is_whole else last
        self.is_short = not is_whole and last is not None
        self.next_page = ""
        if next_after is not None:
            self.next_page = self.get_query_string({_AFTER: str(next_after)})
        self.first_page = self.get_query_string() if self.after else ""
        # What the usual pages ask for.
        self.result_list: Any = events
        self.result_count = self.full_result_count = self._count(len(events))
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        # Another filter begins with its first page.
        self.filter_params.pop(_AFTER, None)
        return super().get_query_string(new_params, remove)

    def _taken(self, name: str) -> int:
        """Return a number that was given with the page, which is no filter."""
        value = str(self.params.pop(name, ""))
        self.filter_params.pop(name, None)
        is_number = value.isascii() and value.isdecimal() and len(value) < 19
        return int(value) if is_number else 0

    def _last_looked_at(self) -> int | None:
        """Return the number of the last event to be looked at; None for no end."""
        rows = self.root_queryset.order_by("pk").filter(pk__gt=self.after)
        if projection := self.params.get("projection"):
            rows = rows.filter(projection=projection)
        numbers = rows.values_list("pk", flat=True)
        return numbers[MOST_LOOKED_AT - 1 : MOST_LOOKED_AT].first()

    def _count(self, here: int) -> int:
        """Count what is found; what is too much is said in :attr:`count_text` alone."""
        count = here
        is_known = self._is_indexed or not (self.next_page or self.after)
        if self._is_indexed:
            count = counted_up_to(self.queryset, MOST_COUNTED)
        if not is_known:
            self.count_text = gettext("%(count)s on this page") % {"count": here}
            return here
        if count > MOST_COUNTED:
            self.count_text = self._estimated()
            return here
        self.count_text = ngettext(
            "%(count)s failed event", "%(count)s failed events", count
        ) % {"count": count}
        return count

    def _estimated(self) -> str:
        about = None
        if self._is_whole:
            about = estimated_rows(self.model, self.queryset.db)
        if about is None or about <= MOST_COUNTED:
            text = gettext("more than %(count)s failed events")
            return text % {"count": MOST_COUNTED}
        return gettext("about %(count)s failed events") % {"count": about}


def _is_indexed(asked: set[str]) -> bool:
    """Return whether an index finds what is asked for, in the order of pages."""
    if _AGGREGATE in asked or asked <= {"projection"}:
        return True
    return _TRACKED <= asked <= {*_TRACKED, "error_kind"}
