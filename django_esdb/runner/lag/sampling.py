"""Keeping, for each minute of the last hour, how far projections were behind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import SAMPLES, ProjectionLag, ProjectionSample
from django_esdb.status.lag import lag_of

_SECONDS = 60


class Sampling:
    """
    Writes a sample of each projection that is measured, in each minute; one thread.

    Another process that measures the same one writes the same row: the last one counts.
    """

    def __init__(self) -> None:
        self._minutes: dict[TrackedProjection, int] = {}

    def note(
        self,
        tracked: TrackedProjection,
        row: Any,
        measured: Mapping[str, Any],
        now: datetime,
    ) -> None:
        """
        Write down what was measured, unless that was done in this minute.

        Args:
            tracked: The projection.
            row: Its tracking row, with the lag that was written before, if any.
            measured: The lag's fields that were measured now.
            now: When.

        Raises:
            django.db.Error: The database cannot be used.
        """
        minute = int(now.timestamp() // _SECONDS)
        if self._minutes.get(tracked) == minute:
            return
        row.lag = _merged(getattr(row, "lag", None), measured)
        lag = lag_of(row, is_running=True)
        sample = {
            "taken_at": now,
            "events": lag.events,
            "seconds": lag.seconds,
            "rate": lag.rate,
        }
        samples = ProjectionSample.objects.using(tracked.using)
        place = {"tracking_id": row.pk, "slot": minute % SAMPLES}
        if not samples.filter(**place).update(**sample):
            # Another process may have made it just now.
            samples.bulk_create(
                [ProjectionSample(**place, **sample)], ignore_conflicts=True
            )
        self._minutes[tracked] = minute


def _merged(lag: ProjectionLag | None, measured: Mapping[str, Any]) -> ProjectionLag:
    merged = lag or ProjectionLag()
    for name, value in measured.items():
        setattr(merged, name, value)
    return merged
