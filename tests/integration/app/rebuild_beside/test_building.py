"""``rebuildprojection --beside``: the site continues reading until the rows switch."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from eventsourcing.persistence import Tracking

from django_esdb.exceptions import LeaseLostError
from django_esdb.leases.acquiring import acquire_lease
from django_esdb.leases.process_identity import new_owner
from django_esdb.models import (
    ProjectionState,
    build_name,
)
from django_esdb.rebuilding.beside import building
from django_esdb.rebuilding.beside.registration import tracked_build
from django_esdb.registry import Registration
from django_esdb.runner.decisions import Action, Known, decide
from django_esdb.status.status import projection_statuses
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.building_beside import (
    NAME,
    abort,
    build_beside,
    counts,
    in_thread,
    interrupt,
    is_nothing_left,
    names,
    row,
    second_tables,
)
from tests.support.failed_events import PickyProjection, tricks
from tests.support.supervising import catch_up, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


def test_rows_are_built_and_switch_where_no_process_runs_it(
    spoilt: TrainingSchool, school_projection: Registration
) -> None:
    before = row()

    said = build_beside(NAME).splitlines()

    assert said[0].startswith(f"Building {NAME} next to the rows in use")
    switched = f"{NAME} has switched: deleted 1 row, inserted 1, left what was equal"
    assert switched in said
    assert said[-1] == (
        f"{NAME} is rebuilt from 3 events; no process runs it: start runprojections"
    )
    assert names() == ["Fido", "Rex"]
    assert tricks("Fido") == ["sit"]
    assert counts() == [(2, 1)]
    now = row()
    assert (now.position, now.event_id) == (before.position, before.event_id)
    assert (now.owner, now.state) == ("", ProjectionState.STOPPED)
    assert (now.processed, now.replay_until) == (3, now.position)
    assert is_nothing_left()
    spoilt.add_trick("Rex", "sit")
    catch_up(school_projection)
    assert counts() == [(2, 2)]


def test_who_runs_it_goes_on_meanwhile_and_afterwards(
    school: TrainingSchool, school_projection: Registration, settings: Any
) -> None:
    # Who runs it notices when the lease is to be renewed.
    settings.ESDB_LEASE_SECONDS = 3
    for number in range(5):
        school.register(f"Dog {number}")
    with running(school_projection, exclusive=True) as supervisor:
        wait_until(lambda: counts() == [(5, 0)])
        assert Dog.objects.filter(name="Dog 3").update(name="wrong")

        build_beside(NAME, "--batch-size", "1")

        assert Dog.objects.filter(name="Dog 3").exists()
        supervisor.wait_for("started", 2)
        school.add_trick("Dog 3", "sit")
        wait_until(lambda: counts() == [(5, 1)])
    assert is_nothing_left()


class Waiting(TrainingSchoolProjection):
    """Waits at a trick of this name, in a build alone."""

    reached = threading.Event()
    may_go = threading.Event()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        if getattr(domain_event, "trick", "") == "wait" and self.view.name != "Waiting":
            self.reached.set()
            assert self.may_go.wait(60)


@pytest.fixture
def waiting(only: Any, school: TrainingSchool) -> Iterator[Registration]:
    Waiting.reached.clear()
    Waiting.may_go.clear()
    school.register("Fido")
    school.add_trick("Fido", "wait")
    made = only(projection_class=Waiting)
    catch_up(made)
    yield made
    Waiting.may_go.set()


@pytest.mark.parametrize(
    "is_aborted", [pytest.param(False, marks=pytest.mark.any_database), True]
)
def test_a_build_that_is_under_way_is_shown_is_alone_and_can_be_aborted(
    school: TrainingSchool,
    waiting: Registration,
    admin_client: Client,
    settings: Any,
    is_aborted: bool,
) -> None:
    # With SQLite it is not renewed within a transaction.
    settings.ESDB_LEASE_SECONDS = 600
    thread, said = in_thread("Waiting", "--batch-size", "1")
    assert Waiting.reached.wait(60)
    try:
        [status] = projection_statuses()
        build = status.build
        assert build is not None
        assert (build.is_under_way, build.state) == (True, ProjectionState.RUNNING)
        assert build.target == row("Waiting").position
        assert build.position is not None
        assert build.position < build.target
        assert f"position {build.position} of {build.target}" in status.advice[-1]
        page = admin_client.get("/admin/django_esdb/").content.decode()
        assert "A rebuild next to the rows in use continues" in page
        assert "rebuildprojection Waiting --abort" in page
        change = f"/admin/django_esdb/projectiontracking/{row('Waiting').pk}/change/"
        assert "--abort" in admin_client.get(change).content.decode()
        listed = admin_client.get("/admin/django_esdb/projectiontracking/")
        assert build_name("Waiting") not in listed.content.decode()
        out = io.StringIO()
        with suppress(CommandError):
            call_command("showprojections", "--json", stdout=out)
        [shown] = json.loads(out.getvalue())
        assert shown["beside"]["state"] == "running"
        assert shown["beside"]["target"] == build.target
        # The models of this whole process are led to the second tables.
        assert Dog._meta.db_table in second_tables()
    finally:
        aborting = threading.Thread(target=abort, args=("Waiting",))
        if is_aborted:
            aborting.start()
        Waiting.may_go.set()
        thread.join(60)
        if is_aborted:
            aborting.join(60)
    assert not thread.is_alive()
    if is_aborted:
        assert "it was aborted" in said[0] or "rebuilt from" in said[0]
    else:
        assert "rebuilt from 2 events" in said[0]
    # What either was kept from doing by the other is done when it is called again.
    abort("Waiting")
    assert (names(), counts()) == (["Fido"], [(1, 1)])
    assert is_nothing_left()


@pytest.mark.any_database
def test_a_build_of_another_process_is_not_begun_twice(
    spoilt: TrainingSchool, school_projection: Registration
) -> None:
    lease = acquire_lease(tracked_build(school_projection), new_owner(), 60)
    assert lease is not None

    with pytest.raises(CommandError, match="is being rebuilt by") as refused:
        build_beside(NAME)

    assert refused.value.returncode == 1
    assert "wrong" in names()
    lease.release(ProjectionState.STOPPED)
    build_beside(NAME)
    assert names() == ["Fido", "Rex"]


@pytest.mark.parametrize("where", ["hold", "switch"])
def test_what_was_broken_off_goes_on_and_the_old_rows_stand(
    spoilt: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    with monkeypatch.context() as patched:
        interrupt(patched, where)
        with pytest.raises(CommandError, match="is stopped; the rows in use") as no:
            build_beside(NAME)
    assert no.value.returncode == 1
    assert names() == ["Fido", "wrong"]
    assert row().owner == ""
    [status] = projection_statuses()
    assert status.build is not None
    assert not status.build.is_under_way
    assert "has stopped at position" in status.advice[-1]
    # Events meanwhile are in the rows in use, and in the others then.
    spoilt.register("Spot")
    catch_up(school_projection)
    assert names() == ["Fido", "Spot", "wrong"]

    said = build_beside(NAME)

    assert f"Continuing to build {NAME}" in said
    assert "is rebuilt from 4 events" in said
    assert names() == ["Fido", "Rex", "Spot"]
    assert is_nothing_left()


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("--restart", marks=pytest.mark.any_database),
        pytest.param("code", marks=pytest.mark.any_database),
        "tables",
    ],
)
def test_it_begins_again_if_told_so_or_if_code_or_tables_have_changed(
    spoilt: TrainingSchool,
    school_projection: Registration,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    with monkeypatch.context() as patched:
        interrupt(patched, "switch")
        with pytest.raises(CommandError):
            build_beside(NAME)
    options = [how] if how == "--restart" else []
    if how == "code":
        monkeypatch.setattr(building, "fingerprint", lambda registration: "other")
    elif how == "tables":
        monkeypatch.setattr(Dog._meta.get_field("name"), "max_length", 200)

    said = build_beside(NAME, *options)

    assert f"Building {NAME} next to" in said
    assert ("of other code or tables" in said) == (how != "--restart")
    assert names() == ["Fido", "Rex"]
    assert is_nothing_left()


def test_an_event_that_fails_stops_it_and_it_goes_on_when_that_is_repaired(
    school: TrainingSchool, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PickyProjection, "bad", set())
    school.register("Fido")
    school.add_trick("Fido", "burn")
    catch_up(only(projection_class=PickyProjection))
    PickyProjection.bad = {"burn"}

    with pytest.raises(CommandError, match="cannot burn") as failed:
        build_beside("Picky")

    assert failed.value.returncode == 1
    assert "--abort drops what is built" in str(failed.value)
    assert tricks("Fido") == ["burn"]
    [status] = projection_statuses()
    assert status.build is not None
    assert status.build.state == ProjectionState.PAUSED
    assert "cannot burn" in status.advice[-1]
    assert status.is_well or not status.error
    PickyProjection.bad = set()
    assert "Continuing" in build_beside("Picky")
    assert is_nothing_left()


def test_who_has_begun_a_build_does_not_begin_it_again_when_it_was_aborted(
    spoilt: TrainingSchool, school_projection: Registration
) -> None:
    second = building.second_set(school_projection)
    begun = building.begin_build(school_projection, second, new_owner(), 60)
    assert building.abort_build(school_projection)

    with pytest.raises(LeaseLostError) as lost:
        begun.lease.require()
    # Else it would stand by, and process events without the tables.
    assert decide(lost.value, Known(exclusive=True)).action is Action.FAIL
    with pytest.raises(LeaseLostError, match="was aborted"):
        building.begin_build(
            school_projection, second, new_owner(), 60, record_id=begun.record_id
        )

    assert is_nothing_left()
