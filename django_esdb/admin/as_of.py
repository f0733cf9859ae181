"""Which events the rows of a read model reflect."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.db import models
from django.utils.translation import gettext, ngettext

from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import ProjectionTracking
from django_esdb.moments import exact_time
from django_esdb.registry import registry
from django_esdb.status.lag import Lag, lag_of
from django_esdb.status.rows import tracked_of
from django_esdb.status.status import shown


@dataclass(frozen=True)
class AsOf:
    """
    How far a projection has got that writes the rows.

    Attributes:
        projection: Its name.
        position: Up to which position the rows reflect the events; None if no event
            is processed.
        time: When the last processed event was recorded; ``-`` if that is not known.
        missing: How many events the rows do not reflect yet.
        pk: Of the projection's tracking row; None if it has none.
    """

    projection: str
    position: int | None
    time: str
    missing: str
    pk: int | None


def as_of(model: type[models.Model]) -> list[AsOf]:
    """
    Return how far the projections have got whose views declare a model as theirs.

    It takes a query for each database that they are tracked in.

    Raises:
        django.db.Error: A database cannot be used.
    """
    writers = [
        tracked
        for each in registry
        if model in getattr(each.view_class, "read_models", ())
        and (tracked := tracked_of(each)) is not None
    ]
    found: list[AsOf] = []
    for using, group in groupby(sorted(writers, key=_alias), key=_alias):
        found += _in_database(using, list(group))
    return found


def _alias(tracked: TrackedProjection) -> str:
    return tracked.using


def _in_database(using: str, writers: list[TrackedProjection]) -> list[AsOf]:
    rows = {
        (row.projection, row.application): row
        for row in ProjectionTracking.objects.using(using)
        .filter(projection__in=[each.projection for each in writers])
        .with_ownership()
        .select_related("lag")
    }
    return [
        _as_of(each, rows.get((each.projection, each.application))) for each in writers
    ]


def _as_of(tracked: TrackedProjection, row: Any) -> AsOf:
    name = shown(tracked.projection, 100)
    if row is None:
        return AsOf(name, None, "-", _missing(Lag()), None)
    lag = lag_of(row, is_running=row.is_owned)
    time = exact_time(row.event_time)
    return AsOf(name, row.position, time, _missing(lag), row.pk)


def _missing(lag: Lag) -> str:
    """Say how many events are not in the rows, as far as that is known."""
    if lag.events is None:
        return gettext("it is not known how many events are missing")
    values = {"count": lag.events, "time": exact_time(lag.measured_at)}
    if not lag.events:
        if lag.is_current:
            return gettext("no event is missing")
        return gettext("no event was missing at %(time)s") % values
    if lag.is_exact:
        text = ngettext(
            "%(count)s event is missing", "%(count)s events are missing", lag.events
        )
    else:
        text = ngettext(
            "at least %(count)s event is missing",
            "at least %(count)s events are missing",
            lag.events,
        )
    return text % values
