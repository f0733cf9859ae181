"""Nodes of a cluster that lag or cannot answer, as projections see them."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from django_esdb import signals
from django_esdb.registry import Registration
from django_esdb.runner.batches import batch_loop
from example_project.training_school.models import Dog, SchoolCounts
from tests.support.client_library import EventStoreDBClient, NewEvent, StreamState
from tests.support.cluster import Cluster
from tests.support.stores import school_at
from tests.support.supervising import running, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


def test_a_look_for_a_later_position_that_fails_ends_nothing(
    cluster: Cluster,
    settings: Any,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(batch_loop, "_LONGEST_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(batch_loop, "_IDLE_LOOK_SECONDS", 0.2)
    caplog.set_level(logging.DEBUG, "django_esdb.runner")
    interrupted: list[str] = []

    def note(*, error: BaseException, **kwargs: Any) -> None:
        interrupted.append(str(error))

    signals.projection_interrupted.connect(note)
    settings.ESDB_URI = cluster.uri
    with school_at(cluster) as school, running(school_projection):
        school.register("Fido")
        wait_until(lambda: Dog.objects.count() == 1)
        # What is open continues, and nothing else is answered.
        cluster.leaderless()
        wait_until(lambda: caplog.text.count("Looking for a later position failed") > 2)
        cluster.elect(0)
        school.register("Rex")
        wait_until(lambda: Dog.objects.count() == 2)

    signals.projection_interrupted.disconnect(note)
    assert interrupted == []


@contextmanager
def changing_nodes(cluster: Cluster) -> Iterator[None]:
    """End nodes at random moments, the leader too, and start them again."""
    is_over = threading.Event()

    def change() -> None:
        while not is_over.wait(random.uniform(0.3, 1.0)):
            node = random.choice(cluster.nodes)
            random.choice([node.stop, node.kill])()
            if node is cluster.leader:
                cluster.elect((node.number + 1) % len(cluster.nodes))
            node.restart()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.mark.slow("the lag is 5 s")
def test_changes_of_lagging_nodes_lose_no_row(
    cluster: Cluster,
    settings: Any,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each look at what lies behind others' events is a chance to pass one over.
    monkeypatch.setattr(batch_loop, "_LONGEST_IDLE_SECONDS", 0.1)
    settings.ESDB_URI = f"{cluster.uri}&NodePreference=random"
    foreign = [NewEvent("foreign", b"{}")]
    with (
        EventStoreDBClient(cluster.store_uri) as store,
        school_at(cluster) as school,
        running(school_projection),
    ):
        school.register("Fido")
        wait_until(lambda: Dog.objects.count() == 1)
        cluster.lag = 5
        with changing_nodes(cluster):
            for number in range(200):
                school.register(f"dog {number}")
                store.append_events(
                    "foreign", current_version=StreamState.ANY, events=foreign
                )
                time.sleep(random.uniform(0.0, 0.2))
        head = school.recorder.max_notification_id() or 0
        wait_until(lambda: (school_projection.tracked().row().position or 0) >= head)

    assert Dog.objects.count() == 201
    assert SchoolCounts.objects.get().dogs == 201
