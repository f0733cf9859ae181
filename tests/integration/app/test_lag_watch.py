"""Workers write down how far projections are behind, also those that none runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_esdb.applications.shared import get_application
from django_esdb.db.functions import DatabaseTime
from django_esdb.leases.acquiring import acquire_lease
from django_esdb.models import (
    ProjectionLag,
    ProjectionSample,
    ProjectionState,
    ProjectionTracking,
)
from django_esdb.rebuilding.resetting import reset_projection
from django_esdb.registry import Registration, registry
from django_esdb.runner.lag import lag_measuring, lag_watch, sampling
from django_esdb.runner.lag.lag_watch import LagWatch, watches
from django_esdb.status import ProjectionStatus, projection_statuses
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.event_stores import EventStore
from tests.support.failed_events import StuckProjection
from tests.support.stores import append
from tests.support.supervising import wait_until, working

pytestmark = pytest.mark.django_db(transaction=True)

NAME = TrainingSchoolProjection.name


class OtherProjection(TrainingSchoolProjection):
    name = "Other"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag_watch, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(lag_measuring, "_FRESH", timedelta())


def status(name: str = NAME) -> ProjectionStatus:
    [found] = [each for each in projection_statuses() if each.projection == name]
    return found


@pytest.fixture
def registered(
    registration: Callable[..., Registration], monkeypatch: pytest.MonkeyPatch
) -> Callable[[type[Any]], Registration]:
    """Register a projection class until the test ends."""

    def register(cls: type[Any]) -> Registration:
        made = registration(projection_class=cls)
        monkeypatch.setitem(registry._registry, cls.name, made)
        return made

    return register


def test_who_has_caught_up_is_nothing_behind(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    last = school.add_trick("Fido", "sit")

    with working(school_projection, until_caught_up=True):
        wait_until(lambda: (status().position or 0) >= last)

    found = status()
    assert (found.state, found.lag.events, found.lag.is_exact) == ("stopped", 0, True)
    assert found.lag.head is not None
    assert found.lag.head >= last
    assert (found.lag.seconds, found.lag.rate) == (0.0, 0.0)
    assert found.is_well
    row = ProjectionTracking.objects.get(projection=NAME)
    assert row.processed == 2
    assert row.event_time is not None
    assert abs(timezone.now() - row.event_time) < timedelta(hours=1)


@pytest.mark.any_database
def test_while_it_runs_it_has_a_rate(
    school: TrainingSchool, school_projection: Registration
) -> None:
    for number in range(30):
        school.register(f"dog {number}")

    with working(school_projection):
        wait_until(lambda: status().lag.rate > 0 and status().lag.events == 0)
        assert status().is_well


def test_a_paused_one_is_behind_by_what_is_recorded_since(
    school: TrainingSchool, registered: Callable[[type[Any]], Registration]
) -> None:
    school.register("Fido")
    with working(registered(StuckProjection)):
        wait_until(lambda: status("Stuck").lag.events == 0)
        for _ in range(3):
            last = school.add_trick("Fido", "sit")
        wait_until(lambda: status("Stuck").state == "paused")
        # Before it has processed the first one, three events lie before another head.
        wait_until(lambda: (status("Stuck").lag.head or 0) >= last)
        wait_until(lambda: status("Stuck").lag.events == 3)
        found = status("Stuck")
        assert found.lag.is_exact
        assert found.lag.seconds is not None
        assert found.lag.seconds > 0
        assert (found.lag.rate, found.lag.eta_seconds) == (0.0, None)
        assert not found.is_well


@pytest.mark.any_database
def test_what_has_never_run_is_measured_by_who_runs_another(
    school: TrainingSchool,
    school_projection: Registration,
    registered: Callable[[type[Any]], Registration],
) -> None:
    registered(OtherProjection)
    for number in range(3):
        school.register(f"dog {number}")

    with working(school_projection):
        wait_until(lambda: status("Other").lag.events == 3)
        other = status("Other")
        assert (other.state, other.position, other.lag.is_exact) == (
            "stopped",
            None,
            True,
        )
        assert not other.is_well
        school.register("another dog")
        wait_until(lambda: status("Other").lag.events == 4)


@pytest.mark.any_database
def test_more_than_is_counted_is_at_least_as_much(
    school: TrainingSchool,
    school_projection: Registration,
    registered: Callable[[type[Any]], Registration],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lag_measuring, "MOST_COUNTED", 4)
    registered(OtherProjection)
    for number in range(6):
        school.register(f"dog {number}")

    with working(school_projection):
        wait_until(lambda: status("Other").lag.events == 4)
        assert not status("Other").lag.is_exact


@pytest.mark.any_database
def test_what_is_not_the_projections_is_not_behind(
    school: TrainingSchool,
    server: EmbeddedServer,
    school_projection: Registration,
    registered: Callable[[type[Any]], Registration],
) -> None:
    registered(OtherProjection)
    last = school.register("Fido")
    watch = watches([school_projection], registry)[TrainingSchool]
    with working(registry.get("Other"), until_caught_up=True):
        wait_until(lambda: (status("Other").position or 0) >= last)
    append(server, "foreign", "Foreign")

    watch.look()

    lag = status("Other").lag
    assert lag.head is not None
    assert lag.head > last
    assert (lag.events, lag.is_exact, lag.seconds) == (0, True, 0.0)
    watch._close_own_app()


@pytest.mark.any_database
@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_since_when_the_store_is_away_is_told(
    school: TrainingSchool,
    store: EventStore,
    school_projection: Registration,
    registered: Callable[[type[Any]], Registration],
    monkeypatch: pytest.MonkeyPatch,
    ends: Callable[[EventStore], None],
) -> None:
    monkeypatch.setattr(lag_watch, "_AWAY_SECONDS", 0.0)
    registered(OtherProjection)
    school.register("Fido")

    with working(school_projection):
        wait_until(lambda: status("Other").lag.events == 1)
        # Who only begins would not outlast it.
        wait_until(lambda: status().position is not None)
        ends(store)
        wait_until(lambda: status("Other").lag.unknown_since is not None)
        wait_until(lambda: status().lag.unknown_since is not None)
        lag = status("Other").lag
        assert (lag.events, lag.is_exact, lag.is_current) == (1, False, False)
        store.start()
        wait_until(lambda: status("Other").lag.is_exact)
        assert status("Other").lag.unknown_since is None


def test_another_processes_projection_is_left_to_it(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    assert acquire_lease(school_projection.tracked(), "another", 600) is not None
    row = ProjectionTracking.objects.get()
    ProjectionLag.objects.create(tracking=row, total=7, measured_at=timezone.now())
    watch = LagWatch([school_projection])

    watch.look()
    assert ProjectionLag.objects.get().total == 7

    # Its code may be older, or it measures no more.
    ProjectionLag.objects.update(measured_at=timezone.now() - timedelta(minutes=1))

    def looks() -> bool:
        watch._due = 0.0
        watch.look()
        return ProjectionLag.objects.get().total == 1

    # It looks a while at what a busy store has, and continues at the next look.
    wait_until(looks)
    watch._close_own_app()


@pytest.mark.own_store("no other client may write meanwhile")
def test_what_does_not_change_costs_the_database_nothing(
    school: TrainingSchool,
    school_projection: Registration,
    django_assert_num_queries: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Neither a minute nor what is written again and again ends while the test runs.
    monkeypatch.setattr(sampling, "_SECONDS", 10**10)
    monkeypatch.setattr(lag_measuring, "REFRESH_SECONDS", 3600.0)
    monkeypatch.setattr(lag_watch, "REFRESH_SECONDS", 3600.0)
    school.register("Fido")
    watch = LagWatch([school_projection])
    watch.look()
    assert status().lag.events == 1

    with django_assert_num_queries(0):
        watch.look()
    school.register("Rex")
    with django_assert_num_queries(2):
        watch.look()

    assert status().lag.events == 2
    watch._close_own_app()


def test_all_is_asked_for_with_one_query(
    school: TrainingSchool,
    school_projection: Registration,
    registered: Callable[[type[Any]], Registration],
    django_assert_num_queries: Any,
) -> None:
    registered(OtherProjection)
    watch = watches([school_projection], registry)[TrainingSchool]
    watch.look()

    with django_assert_num_queries(1):
        assert {each.projection for each in projection_statuses()} == {NAME, "Other"}
    watch._close_own_app()


def test_what_was_measured_is_forgotten_with_the_rest(
    school: TrainingSchool, school_projection: Registration
) -> None:
    school.register("Fido")
    with working(school_projection, until_caught_up=True):
        wait_until(lambda: status().lag.events == 0)

    reset_projection(school_projection)

    row = ProjectionTracking.objects.get()
    assert (row.processed, row.event_time) == (0, None)
    assert not ProjectionLag.objects.exists()


@pytest.mark.any_database
def test_an_error_in_measuring_stops_nothing(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: Any) -> None:
        msg = "as the test says"
        raise RuntimeError(msg)

    monkeypatch.setattr(lag_watch, "find_head", fail)
    monkeypatch.setattr(lag_watch, "_AWAY_SECONDS", 0.0)
    with working(school_projection):
        last = school.register("Fido")
        wait_until(lambda: (status().position or 0) >= last)
        wait_until(lambda: status().lag.unknown_since is not None)

    assert status().state == "stopped"


@pytest.mark.parametrize(
    "owner", ["killed:1:s:r", pytest.param("", marks=pytest.mark.any_database)]
)
def test_a_failure_that_is_gone_does_not_outlive_its_process(
    school: TrainingSchool, school_projection: Registration, owner: str
) -> None:
    last = school.register("Fido")
    with working(school_projection, until_caught_up=True):
        wait_until(lambda: (status().position or 0) >= last)
    ProjectionTracking.objects.update(
        state=ProjectionState.RETRYING,
        error="it was away",
        owner=owner,
        leased_until=DatabaseTime(-1) if owner else None,
    )

    with working(school_projection):
        # No event comes that would tell.
        wait_until(lambda: status().state == "running")
        assert status().error == ""


@pytest.mark.any_database
def test_the_application_is_closed_with_the_watch(
    school: TrainingSchool, school_projection: Registration
) -> None:
    watch = LagWatch([school_projection])
    watch.start()
    wait_until(lambda: watch._own_app is not None)

    watch.stop()

    assert watch._own_app is None
    assert not watch._thread.is_alive()
    # The one of web requests is another.
    assert get_application(TrainingSchool).register("Fido")


@pytest.mark.any_database
def test_workers_keep_one_sample_of_a_minute(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One that does not end while the test runs.
    monkeypatch.setattr(sampling, "_SECONDS", 10**10)
    with working(school_projection):
        wait_until(lambda: ProjectionSample.objects.exists())
        for number in range(5):
            school.register(f"dog {number}")
        wait_until(lambda: status().position is not None and status().lag.events == 0)

    assert [each.events for each in ProjectionSample.objects.all()] == [0]


def test_workers_keep_a_sample_of_each_minute(
    school: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampling, "_SECONDS", 0.2)
    monkeypatch.setattr(lag_watch, "REFRESH_SECONDS", 0.05)
    with working(school_projection):
        wait_until(lambda: ProjectionSample.objects.count() >= 3)

    times = [each.taken_at for each in ProjectionSample.objects.order_by("taken_at")]
    assert len(times) == len({int(at.timestamp() // 0.2) for at in times})
