"""How far projections were behind in the last hour, as workers have written it down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from django_esdb.models import SAMPLES, ProjectionSample
from django_esdb.status.status import ProjectionStatus


@dataclass(frozen=True)
class Sample:
    """
    What a projection was at in a minute.

    Attributes:
        taken_at: When.
        events: How many events it was behind, or at least; None if that was not known.
        seconds: For how long; None if that was not known.
        rate: Events a second, over the minute before.
    """

    taken_at: datetime
    events: int | None
    seconds: float | None
    rate: float


def last_hour(
    statuses: Iterable[ProjectionStatus],
) -> dict[tuple[str | None, str, str], list[Sample]]:
    """
    Return samples of projections by their statuses' keys, earliest first.

    One query for each database. A minute without a measurement has no sample.

    Raises:
        django.db.Error: A database cannot be used.
    """
    since = timezone.now() - timedelta(minutes=SAMPLES)
    found: dict[tuple[str | None, str, str], list[Sample]] = {}
    for alias in sorted({each.database for each in statuses if each.database}):
        rows = (
            ProjectionSample.objects.using(alias)
            .filter(taken_at__gt=since)
            .order_by("taken_at")
            .values_list(
                *("tracking__projection", "tracking__application"),
                *("taken_at", "events", "seconds", "rate"),
            )
        )
        for projection, application, *sample in rows:
            key = alias, projection, application
            found.setdefault(key, []).append(Sample(*sample))
    return found
