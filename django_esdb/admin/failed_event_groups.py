"""Failed events, grouped by projection and by what their errors have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.models import Count, Max

from django_esdb.models import FailedEvent, FailedEventQuerySet
from django_esdb.moments import exact_time
from django_esdb.status.status import shown

MOST_GROUPS = 50
# How many events are counted, the last ones.
MOST_COUNTED = 200_000

_COLUMNS = ("projection", "application", "error_kind")


@dataclass(frozen=True)
class FailedGroup:
    """
    Failed events of a projection whose errors are alike.

    Attributes:
        query: What a list of these events is asked for.
        kind: What the errors have in common; empty if these wait for others.
        count: How many there are.
        latest: The last one of them; None if it is gone by now.
    """

    query: dict[str, str]
    projection: str
    application: str
    kind: str
    count: int
    latest: FailedEvent | None

    @property
    def time(self) -> str:
        """Return when the last one was put aside."""
        return exact_time(None if self.latest is None else self.latest.parked_at)


@dataclass(frozen=True)
class FailedGroups:
    """
    Some groups, the biggest first.

    Attributes:
        has_more: Whether there are others.
        is_part: Whether only the last events were counted.
    """

    groups: list[FailedGroup]
    has_more: bool
    is_part: bool


def failed_groups(events: FailedEventQuerySet) -> FailedGroups:
    """Group events; it takes up to four queries, and bounded time."""
    in_order = events.order_by(*_COLUMNS, "pk").values_list("pk", flat=True)
    # This one asks an index alone.
    is_part = in_order[MOST_COUNTED : MOST_COUNTED + 1].first() is not None
    if is_part:
        last: Any = events.order_by("-pk").values_list("pk", flat=True)
        events = events.filter(pk__gt=last[MOST_COUNTED])
    counted: models.QuerySet[Any, dict[str, Any]] = (
        events.order_by()
        .values(*_COLUMNS)
        .annotate(count=Count("pk"), latest=Max("pk"))
        .order_by("-count", *_COLUMNS)
    )
    rows = list(counted[: MOST_GROUPS + 1])
    return FailedGroups(
        _groups(events, rows[:MOST_GROUPS]), len(rows) > MOST_GROUPS, is_part
    )


def _groups(
    events: FailedEventQuerySet, rows: Iterable[dict[str, Any]]
) -> list[FailedGroup]:
    rows = list(rows)
    latest = events.defer("traceback").in_bulk([row["latest"] for row in rows])
    return [
        FailedGroup(
            {name: row[name] for name in _COLUMNS},
            shown(row["projection"], 100),
            shown(row["application"], 100),
            shown(row["error_kind"]),
            row["count"],
            latest.get(row["latest"]),
        )
        for row in rows
    ]
