"""A projection that fails for some tricks, and counts how often it is tried."""

from __future__ import annotations

from typing import Any

from eventsourcing.persistence import Tracking

from django_esdb.models import FailedEvent
from example_project.training_school.projections import TrainingSchoolProjection


class FailingProjection(TrainingSchoolProjection):
    """Fails for the tricks that it is told; a secret is no part of the message."""

    name = "Failing"
    bad: set[str] = set()
    tries: list[str] = []

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        trick = getattr(domain_event, "trick", "")
        if trick:
            self.tries.append(trick)
        if trick in self.bad:
            # What was done so far is undone.
            super().process_event(domain_event, tracking)
            msg = f"cannot {trick}"
            raise RuntimeError(msg)
        super().process_event(domain_event, tracking)


def parked() -> list[tuple[str, str]]:
    """Return of each failed event the topic's last part and the error."""
    return [
        (event.topic.rpartition(".")[2], event.error)
        for event in FailedEvent.objects.in_order()
    ]
