"""Event stores that are stopped, frozen or without a leader, while projections run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from django_esdb import signals, wait_for
from django_esdb.exceptions import ProjectionError
from django_esdb.models import ProjectionState
from django_esdb.recorders.outcomes import WaitResult
from django_esdb.registry import Registration
from django_esdb.runner import term
from eventsourcing_eventstoredb.protocol import outages, retrying
from eventsourcing_eventstoredb.subscriptions import lagging, receiving
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.cluster import Cluster
from tests.support.event_stores import EventStore
from tests.support.stores import school_at
from tests.support.supervising import SECONDS, Running, running, wait_until, working

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


class Other(TrainingSchoolProjection):
    """Has nothing to do."""

    name = "Other"
    topics = ("nothing",)


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


def is_at(registration: Registration, wanted: ProjectionState) -> bool:
    return state(registration) == wanted


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the levels of what is told of outages, not of projections' states."""
    return [
        each.levelname
        for each in caplog.records
        if each.name.startswith("eventsourcing_eventstoredb")
        or (each.name.startswith("django_esdb") and each.levelno > logging.INFO)
    ]


@contextmanager
def hearing() -> Iterator[set[str]]:
    """Collect which signals about outages are sent."""
    heard: set[str] = set()

    def interrupted(**kwargs: Any) -> None:
        heard.add("interrupted")

    def recovered(**kwargs: Any) -> None:
        heard.add("recovered")

    signals.projection_interrupted.connect(interrupted)
    signals.projection_recovered.connect(recovered)
    try:
        yield heard
    finally:
        signals.projection_interrupted.disconnect(interrupted)
        signals.projection_recovered.disconnect(recovered)


@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_a_projections_state_tells_that_the_store_is_away(
    store: EventStore,
    school_projection: Registration,
    ends: Callable[[EventStore], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(term, "_AWAY_AFTER", timedelta(seconds=0.5))
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


def test_the_state_tells_of_an_outage_soon_after_another(
    store: EventStore, school_projection: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(term, "_AWAY_AFTER", timedelta(seconds=0.5))
    # So that nothing has looked meanwhile.
    monkeypatch.setattr(term, "_STORE_POLL_SECONDS", 1.0)
    is_away = partial(is_at, school_projection, ProjectionState.RETRYING)
    with school_at(store) as school, running(school_projection):
        for number in range(2):
            position = school.register(f"dog {number}")
            assert wait_for(school_projection.name, position, timeout=SECONDS)
            store.kill()
            wait_until(is_away)
            store.start()
            retrying.wait_for_connection(school.recorder.client, 60)  # type: ignore[attr-defined]
        wait_until(partial(is_at, school_projection, ProjectionState.RUNNING))


def outages_while_waiting(
    store: EventStore,
    projection: Registration,
    ends: Callable[[EventStore], None],
    *,
    rounds: int,
    idle: float,
) -> None:
    """Wait for what was saved, and in outages for what was not."""
    with school_at(store) as school, running(projection):
        for number in range(rounds):
            position = school.register(f"dog {number}")
            assert wait_for(projection.name, position, timeout=SECONDS)
            ends(store)
            time.sleep(idle)
            awaited = wait_for(projection.name, position + 1, timeout=0.1)
            assert awaited is WaitResult.TIMED_OUT
            store.start()
        assert wait_for(projection.name, school.register("Rex"), timeout=SECONDS)


@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_a_wait_ends_in_an_outage(
    store: EventStore,
    school_projection: Registration,
    ends: Callable[[EventStore], None],
) -> None:
    outages_while_waiting(store, school_projection, ends, rounds=1, idle=0)


@pytest.mark.slow("twenty restarts each")
@pytest.mark.parametrize("idle", [0, 3], ids=["at once", "later"])
@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_waits_end_in_twenty_outages(
    store: EventStore,
    school_projection: Registration,
    ends: Callable[[EventStore], None],
    idle: float,
) -> None:
    outages_while_waiting(store, school_projection, ends, rounds=20, idle=idle)


def test_an_outage_is_logged_once_for_all_projections_of_a_process(
    store: EventStore,
    registration: Callable[..., Registration],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outages, "QUIET_SECONDS", 0.5)
    monkeypatch.setattr(retrying, "PATIENCE", 0.2)
    monkeypatch.setattr(term, "_AWAY_AFTER", timedelta(seconds=0.5))
    caplog.set_level(logging.INFO)
    projections = [registration(), registration(projection_class=Other)]
    with school_at(store) as school:
        school.register("Fido")
        reached = [reaches(each, school) for each in projections]
        store.kill()
        with working(*projections, wait=60), hearing() as heard:
            wait_until(lambda: "WARNING" in levels(caplog))
            assert heard == {"interrupted"}
            store.start()
            for is_reached in reached:
                wait_until(is_reached)
            wait_until(lambda: "INFO" in levels(caplog))
            # Of which their own lines would come as well.
            assert levels(caplog) == ["WARNING", "INFO"]

            heard.clear()
            store.stop()
            for each in projections:
                wait_until(partial(is_at, each, ProjectionState.RETRYING))
            wait_until(lambda: levels(caplog).count("WARNING") == 2)
            store.start()
            for each in projections:
                wait_until(partial(is_at, each, ProjectionState.RUNNING))
            assert heard == {"interrupted", "recovered"}
    assert levels(caplog) == ["WARNING", "INFO"] * 2
    warning, info = (record.getMessage() for record in caplog.records[:2])
    assert f"servers={store.address} error=" in warning
    assert f"servers={store.address} seconds=" in info


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


@contextmanager
def waits() -> Iterator[list[str]]:
    """Collect what projections say that they wait for."""
    reasons: list[str] = []

    def standing_by(*, owner: str, reason: str, is_paused: bool, **kwargs: Any) -> None:
        assert (owner, is_paused) == ("", False)
        reasons.append(reason)

    signals.standing_by.connect(standing_by)
    try:
        yield reasons
    finally:
        signals.standing_by.disconnect(standing_by)


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "beginning"])
def test_nodes_that_are_behind_are_waited_for(
    cluster: Cluster,
    settings: Any,
    school_projection: Registration,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    is_running: bool,
) -> None:
    monkeypatch.setattr(receiving, "CLUSTER_PATIENCE", 1.0)
    monkeypatch.setattr(term, "_AWAY_AFTER", timedelta(seconds=0.5))
    settings.ESDB_URI = f"{cluster.uri}&NodePreference=follower"
    followers = cluster.nodes[1:]
    is_standing_by = partial(is_at, school_projection, ProjectionState.STANDING_BY)

    def said() -> list[str]:
        # On a busy machine nodes may be so long in coming back that more is told of.
        words = "behind", "recovered"
        lines = [each.getMessage().partition(":")[0] for each in caplog.records]
        return [line for line in lines if line.endswith(words)]

    with school_at(cluster) as school, waits() as reasons:
        school.register("Fido")
        school.register("Rex")
        with running(school_projection) as supervisor:
            wait_until(reaches(school_projection, school))
            if not is_running:
                supervisor.end()
            caplog.set_level(logging.INFO)
            for node in followers:
                node.kill()
                node.restart(behind=1)
            with nullcontext() if is_running else working(school_projection, wait=60):
                wait_until(is_standing_by)
                assert "has yet to reach" in school_projection.tracked().row().error
                for node in followers:
                    node.catch_up()
                school.register("Bello")
                wait_until(reaches(school_projection, school))
                wait_until(partial(is_at, school_projection, ProjectionState.RUNNING))
                wait_until(lambda: "Projection recovered" in said())

    assert len(reasons) == 1
    assert "has yet to reach" in reasons[0]
    assert said() == ["Standing by for a node that is behind", "Projection recovered"]


def test_another_store_is_recognised_by_who_runs_meanwhile(
    store: EventStore,
    school_projection: Registration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lagging, "REFUSAL_PATIENCE", 0.5)
    others = tmp_path / "other"
    others.mkdir()
    other = EventStore(others)
    other.start()
    with school_at(other) as school:
        for number in range(30):
            school.register(f"a dog with another name {number}")
    other.stop()
    supervisor = Running(school_projection)
    with school_at(store) as school:
        for name in ("Fido", "Rex", "Bello"):
            school.register(name)
        supervisor.thread.start()
        wait_until(reaches(school_projection, school))
    store.stop()
    store.take_events(other)
    store.start()

    supervisor.thread.join(SECONDS)
    position = school_projection.tracked().row().position
    text = str(supervisor.error)
    assert f"no event at position {position}; the store's last event is at" in text
    assert "This is another store, or it was emptied" in text
    assert state(school_projection) == ProjectionState.STOPPED


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
