"""What projections are at, as the database tells any process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from django.db import Error as DatabaseError
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from django_esdb.models import ProjectionState
from django_esdb.status.advice import LOST
from django_esdb.status.status import ProjectionStatus, projection_statuses
from eventsourcing_eventstoredb.text import one_line

logger = logging.getLogger("django_esdb.metrics")

LABELS = ("projection", "application", "database")
STATES = (*(str(state) for state in ProjectionState), LOST)


def _timestamp(value: datetime | None) -> float | None:
    return None if value is None else value.timestamp()


# What has no value now is left out.
_GAUGES: dict[str, tuple[str, Callable[[ProjectionStatus], float | None]]] = {
    "lag_events": (
        "Events that are to be processed; at least, where it is not exact",
        lambda status: status.lag.events,
    ),
    "lag_seconds": (
        "The time of the store's last event minus that of the last processed one",
        lambda status: status.lag.seconds,
    ),
    "lag_exact": (
        "Whether all events that are to be processed were counted, and not long ago",
        lambda status: status.lag.is_exact,
    ),
    "lag_measured_timestamp_seconds": (
        "When the event store was last asked how far it is",
        lambda status: _timestamp(status.lag.measured_at),
    ),
    "position": (
        "Position of the last processed event",
        lambda status: status.position,
    ),
    "head_position": (
        "Position of the event store's last event, when it was last asked",
        lambda status: status.lag.head,
    ),
    "moved_timestamp_seconds": (
        "When the position was last moved",
        lambda status: _timestamp(status.updated_at),
    ),
    "failed_events": (
        "Events that are put aside, with those that wait behind them",
        lambda status: status.failed_events,
    ),
    "waiting_events": (
        "Events that wait behind one of their aggregate that has failed",
        lambda status: status.waiting_events,
    ),
    "skipped_events": (
        "Events that were left out, as far as they are kept",
        lambda status: status.skipped_events,
    ),
    "projection_well": (
        "Whether nothing is known to be wrong",
        lambda status: status.is_well,
    ),
}


class ProjectionCollector(Collector):
    """
    Tells of each registered projection what its row in the database says.

    Each collection makes one query for each database with such rows, in the thread
    that collects, and asks no event store. Where a database cannot be asked,
    ``django_esdb_database_up`` is 0, and the rest is missing.
    """

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the metrics without values; asks nothing."""
        return self._families({})

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask the database, and return all metrics."""
        up = GaugeMetricFamily(
            "django_esdb_database_up", "Whether the database could be asked", labels=()
        )
        try:
            found = [each for each in projection_statuses() if each.is_registered]
        except DatabaseError as error:
            logger.warning("Metrics are not known: error=%s", one_line(error))
            up.add_metric((), 0)
            yield up
            return
        up.add_metric((), 1)
        yield up
        yield from self._families(
            {
                (each.projection, each.application, each.database or ""): each
                for each in found
            }
        )

    def _families(
        self, found: dict[tuple[str, str, str], ProjectionStatus]
    ) -> Iterator[GaugeMetricFamily]:
        for name, (text, value_of) in _GAUGES.items():
            family = GaugeMetricFamily(f"django_esdb_{name}", text, labels=LABELS)
            for labels, status in found.items():
                value = value_of(status)
                if value is not None:
                    family.add_metric(labels, float(value))
            yield family
        states = GaugeMetricFamily(
            "django_esdb_projection_state",
            "Whether the projection is in the state that the label names",
            labels=(*LABELS, "state"),
        )
        for labels, status in found.items():
            for state in STATES:
                states.add_metric((*labels, state), float(status.state == state))
        yield states
