"""Event stores that are stopped, frozen or without a leader, while projections run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_esdb.exceptions import ProjectionError
from django_esdb.models import ProjectionState
from django_esdb.registry import Registration
from eventsourcing_eventstoredb.protocol import retrying
from example_project.training_school.application import TrainingSchool
from tests.support.cluster import Cluster
from tests.support.event_stores import EventStore
from tests.support.stores import school_at
from tests.support.supervising import Running, running, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


@pytest.fixture
def store(store: EventStore, settings: Any) -> EventStore:
    settings.ESDB_URI = store.uri
    return store


def state(registration: Registration) -> ProjectionState:
    return ProjectionState(registration.tracked().row().state)


def reaches(registration: Registration, school: TrainingSchool) -> Callable[[], bool]:
    head = school.recorder.max_notification_id()
    assert head is not None
    return lambda: (registration.tracked().row().position or 0) >= head


@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_a_projections_state_tells_that_the_store_is_away(
    store: EventStore,
    school_projection: Registration,
    ends: Callable[[EventStore], None],
) -> None:
    with school_at(store) as school, running(school_projection):
        school.register("Fido")
        wait_until(reaches(school_projection, school))
        ends(store)
        wait_until(lambda: state(school_projection) == ProjectionState.RETRYING)

        store.start()
        retrying.wait_for_connection(school.recorder.client, 60)  # type: ignore[attr-defined]
        school.register("Rex")
        wait_until(reaches(school_projection, school))
        wait_until(lambda: state(school_projection) == ProjectionState.RUNNING)


def test_a_projection_goes_on_when_there_is_a_leader_again(
    cluster: Cluster, settings: Any, school_projection: Registration
) -> None:
    settings.ESDB_URI = cluster.uri
    with school_at(cluster) as school, running(school_projection):
        school.register("Fido")
        wait_until(reaches(school_projection, school))
        cluster.nodes[0].kill()
        cluster.leaderless()
        wait_until(lambda: state(school_projection) == ProjectionState.RETRYING)

        cluster.elect(1)
        school.register("Rex")
        wait_until(reaches(school_projection, school))
        wait_until(lambda: state(school_projection) == ProjectionState.RUNNING)


def test_a_projection_leaves_a_leader_that_is_frozen(
    cluster: Cluster, settings: Any, school_projection: Registration
) -> None:
    settings.ESDB_URI = cluster.uri
    with school_at(cluster) as school, running(school_projection):
        school.register("Fido")
        wait_until(reaches(school_projection, school))
        cluster.nodes[0].freeze()
        cluster.elect(1)

        school.register("Rex")
        wait_until(reaches(school_projection, school))
        cluster.nodes[0].wake()
        school.register("Bello")
        wait_until(reaches(school_projection, school))


def test_another_store_is_recognised_before_it_is_subscribed_to(
    store: EventStore, school_projection: Registration, tmp_path: Path, settings: Any
) -> None:
    with school_at(store) as school:
        for name in ("Fido", "Rex", "Bello"):
            school.register(name)
        with running(school_projection):
            wait_until(reaches(school_projection, school))
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    other = EventStore(other_folder)
    other.start()
    settings.ESDB_URI = other.uri
    try:
        with school_at(other) as school:
            for number in range(9):
                school.register(f"a dog with another name {number}")
        supervisor = Running(school_projection)
        with pytest.raises(ProjectionError, match="this is another store"):
            supervisor.run()
    finally:
        other.kill()
