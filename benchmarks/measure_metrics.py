"""What metrics and traces cost a projection, measured in turns; prints JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command
from django.db import connections
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

# Sets Django up.
from benchmarks import measure_projection as projections
from django_esdb import signals
from django_esdb.contrib.opentelemetry import instrument, uninstrument
from django_esdb.contrib.prometheus import ProjectionMetrics
from django_esdb.models import ProjectionTracking
from django_esdb.runner.garbage import expect_many_objects
from example_project.training_school import models

# The smallest batch, and the setting's; how many events of each.
EVENTS = {1: 600, 500: 5_000}
BATCHES_TOLD_OF = 3_000


@contextmanager
def receiving(way: str) -> Iterator[None]:
    if way == "prometheus":
        metrics = ProjectionMetrics(CollectorRegistry())
        metrics.connect()
        yield
        metrics.close()
    elif way == "opentelemetry":
        instrument(TracerProvider())
        yield
        uninstrument()
    else:
        yield


def batch_seconds(application: Any, size: int, events: int) -> float:
    """Process all events on empty tables; return the CPU seconds of a batch."""
    for model in (models.Dog, models.SchoolCounts, ProjectionTracking):
        model.objects.all().delete()
    models.SchoolCounts.objects.create(id=1)
    env = {"PERSISTENCE_MODULE": "eventsourcing.popo"}
    began = time.process_time()
    runner = projections.ours(application, projections.RowsView, size, env)
    with runner:
        # Not often, since it is measured, too.
        while runner.view.max_tracking_id("TrainingSchool") != events:
            time.sleep(0.05)
        return (time.process_time() - began) / (events / size)


def told_seconds() -> float:
    """Send what a batch sends, as its processor does; return the CPU seconds of one."""
    sender = signals.Sender(projections.BenchProjection, "TrainingSchool")
    began = time.process_time()
    for position in range(BATCHES_TOLD_OF):
        if sender.has_listeners(signals.batch_began):
            sender.send(
                signals.batch_began, position=position, events=1, reason="caught up"
            )
        if sender.has_listeners(signals.batch_committed):
            sender.send(
                signals.batch_committed,
                position=position,
                events=1,
                seconds=0.002,
                handler_seconds=0.001,
                commit_seconds=0.001,
                reason="caught up",
            )
    return (time.process_time() - began) / BATCHES_TOLD_OF


def main() -> None:
    turns = json.loads(sys.argv[1])["turns"]
    call_command("migrate", verbosity=0)
    expect_many_objects()
    applications = {
        size: projections.popo_application(events) for size, events in EVENTS.items()
    }
    batches: dict[int, list[float]] = {size: [] for size in EVENTS}
    ways: dict[str, list[float]] = {
        way: [] for way in ("none", "prometheus", "opentelemetry")
    }
    for _ in range(turns):
        for size, events in EVENTS.items():
            batches[size].append(batch_seconds(applications[size], size, events))
        for way, found in ways.items():
            with receiving(way):
                found.append(told_seconds())
    print(
        json.dumps(
            {
                "batches": {size: min(found) * 1e6 for size, found in batches.items()},
                "ways": {way: min(found) * 1e6 for way, found in ways.items()},
            }
        )
    )
    connections.close_all()


if __name__ == "__main__":
    main()
