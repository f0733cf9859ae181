"""One rebuild next to catching up, in a process of its own; prints JSON."""

from __future__ import annotations

import gc
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.test.utils import override_settings  # noqa: E402
from eventsourcing.persistence import StoredEvent  # noqa: E402

from benchmarks.measure_projection import (  # noqa: E402
    DOGS_AT_A_TIME,
    TRICKS,
    BenchProjection,
    OrmView,
    RowsView,
    check,
    environment,
    stored_events,
)
from benchmarks.support import mixed_log  # noqa: E402
from benchmarks.support.event_stores import event_store  # noqa: E402
from django_esdb.conf import settings  # noqa: E402
from django_esdb.rebuilding.beginning import take_over  # noqa: E402
from django_esdb.rebuilding.resetting import reset_projection  # noqa: E402
from django_esdb.registry import Registration  # noqa: E402
from django_esdb.runner.garbage import expect_many_objects  # noqa: E402
from django_esdb.runner.supervisor import Supervisor  # noqa: E402
from example_project.training_school import models  # noqa: E402
from example_project.training_school.application import TrainingSchool  # noqa: E402

MODELS = (models.Dog, models.SchoolCounts)


class RebuiltRowsView(RowsView):
    read_models = MODELS


class RebuiltOrmView(OrmView):
    read_models = MODELS

    def _count(self, **amounts: object) -> None:
        models.SchoolCounts.objects.get_or_create(id=1)
        super()._count(**amounts)


def dogs() -> Iterator[list[StoredEvent]]:
    """Yield the events of one dog after the other."""
    events = stored_events()
    while True:
        some = list(itertools.islice(events, DOGS_AT_A_TIME * (TRICKS + 1)))
        for number in range(DOGS_AT_A_TIME):
            yield some[number::DOGS_AT_A_TIME]


def fill(env: dict[str, str], events: int, log: str) -> None:
    """Append the events of dogs that are trained at the same time, or in turn."""
    some = itertools.islice(dogs(), events // (TRICKS + 1))
    mixed_log.append(
        env["EVENTSTOREDB_URI"],
        env["EVENTSTOREDB_STREAM_PREFIX"],
        mixed_log.saves(some) if log == "mixed" else some,
    )


def measure(
    way: str, log: str, events: int, rounds: int, uri: str | None
) -> dict[str, float]:
    """
    Return the median rates of both, in turns on the same events and tables.

    Args:
        way: How the view writes, ``rows`` or ``orm``.
        log: ``mixed``, or ``sorted``: each dog's events together.
        events: How many, a multiple of what a dog has.
        rounds: How often each is done.
        uri: Of an event store that runs; None for one of its own.
    """
    view = {"rows": RebuiltRowsView, "orm": RebuiltOrmView}[way]
    registration = Registration(
        projection_class=BenchProjection,
        application_class=TrainingSchool,
        view_class=view,
    )
    caught_up, rebuilt = [], []
    # As the command does, whose process this stands for.
    gc.collect()
    gc.freeze()
    with event_store(uri) as uri:
        env = environment(uri)
        fill(env, events, log)
        with override_settings(ESDB_ENV=env):
            for _ in range(rounds):
                reset_projection(registration, with_effects=True)
                caught_up.append(
                    _measured(Supervisor(registration, until_caught_up=True), events)
                )
                rebuilt.append(
                    _measured(
                        Supervisor(
                            registration,
                            until_caught_up=True,
                            take_over=lambda owner: (
                                take_over(
                                    registration, owner, settings.ESDB_LEASE_SECONDS
                                ).lease
                            ),
                        ),
                        events,
                    )
                )
    found = {}
    for name, measured in (("caught_up", caught_up), ("rebuilt", rebuilt)):
        rates, cpu = zip(*measured, strict=True)
        found[f"{name}_rate"] = statistics.median(rates)
        found[f"{name}_cpu"] = statistics.median(cpu)
    return found


def _measured(supervisor: Supervisor, events: int) -> tuple[float, float]:
    """Return events a second, and microseconds of CPU for each."""
    begun, cpu = time.perf_counter(), time.process_time()
    supervisor.run()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    check(events)
    return events / seconds, cpu / events * 1e6


def main() -> None:
    what = json.loads(sys.argv[1])
    call_command("migrate", verbosity=0)
    expect_many_objects()
    print(json.dumps(measure(**what)))
    connections.close_all()


if __name__ == "__main__":
    main()
