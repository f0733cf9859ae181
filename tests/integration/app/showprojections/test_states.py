"""What ``manage.py showprojections`` says, and where it comes from."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb.db.functions import DatabaseTime
from django_esdb.leases.acquiring import acquire_lease
from django_esdb.leases.process_identity import new_owner
from django_esdb.models import (
    ProjectionLag,
    ProjectionState,
    ProjectionTracking,
)
from django_esdb.registry import Registration, registry
from django_esdb.status.advice import LOST
from django_esdb.status.rows import registration_of
from tests.support.processes import ended_owner
from tests.support.projection_tables import change, listed, park, printed, table

pytestmark = pytest.mark.django_db


@pytest.fixture
def gone() -> str:
    """The name of a process that has ended."""
    return ended_owner()


@pytest.mark.any_database
def test_a_projection_that_has_never_run_is_shown() -> None:
    [shown] = listed()

    assert shown["name"] == "TrainingSchoolProjection"
    assert shown["is_registered"] is True
    assert shown["definition_changed"] is False
    assert shown["state"] == "stopped"
    assert shown["database"] == "default"
    for key in ("position", "updated_at", "since", "leased_until"):
        assert shown[key] is None
    for key in ("head", "behind_events", "behind_seconds", "eta_seconds"):
        assert shown[key] is None
    assert (shown["owner"], shown["error"], shown["rate"]) == ("", "", 0.0)
    assert (shown["failed"], shown["waiting"], shown["attempts"]) == (0, 0, 0)
    assert printed().splitlines() == [
        "STATE    PROJECTION                BEHIND  LAG  RATE  LEFT  FAILED  WAITING",
        "stopped  TrainingSchoolProjection       -    -   0/s     -       0        0",
        "  stopped: no process runs it: start runprojections",
        "  no position, application TrainingSchool, database default",
    ]


@pytest.mark.any_database
def test_who_runs_it_is_shown_by_host_and_process(
    row: ProjectionTracking, school_projection: Registration
) -> None:
    owner = new_owner()
    lease = acquire_lease(school_projection.tracked(), owner, 60)
    assert lease is not None
    lease.set_state(ProjectionState.RUNNING)

    [shown] = listed()
    head, line = table()

    assert shown["state"] == "running"
    assert shown["owner"] == owner
    assert shown["leased_until"] > shown["since"]
    host, process, _, random = owner.split(":")
    assert line.endswith(f", owner {host}:{process}")
    assert process == str(os.getpid())
    assert random not in line
    assert head.startswith("running  TrainingSchoolProjection ")


@pytest.mark.parametrize(
    "state",
    [
        ProjectionState.RUNNING,
        pytest.param(ProjectionState.RETRYING, marks=pytest.mark.any_database),
        pytest.param(ProjectionState.STANDING_BY, marks=pytest.mark.any_database),
    ],
)
def test_one_whose_lease_is_over_is_lost(
    row: ProjectionTracking, state: ProjectionState
) -> None:
    change(row, state=state, owner="h:1:s:r", leased_until=DatabaseTime(60))
    assert [shown["state"] for shown in listed()] == [state]

    change(row, leased_until=DatabaseTime(-0.01))

    [shown] = listed()
    assert shown["state"] == LOST
    assert shown["since"] == shown["leased_until"]
    assert shown["advice"][0].startswith("lost: ")
    assert table()[1] == f"  {shown['advice'][0]}"


@pytest.mark.any_database
def test_one_whose_process_is_known_to_be_gone_is_lost(
    row: ProjectionTracking, gone: str
) -> None:
    change(row, state="running", owner=gone, leased_until=DatabaseTime(60))

    [shown] = listed()

    assert (shown["state"], shown["since"]) == (LOST, None)


@pytest.mark.any_database
def test_a_pause_is_shown_with_its_reason_and_what_to_do(
    row: ProjectionTracking,
) -> None:
    change(row, state="paused", error="KeyError: 'x'", state_since=timezone.now())

    [shown] = listed()
    lines = table()

    assert (shown["state"], shown["error"]) == ("paused", "KeyError: 'x'")
    assert lines[:3] == [
        "paused  TrainingSchoolProjection       -    -   0/s     -       0        0",
        "  KeyError: 'x'",
        "  paused: fix the cause, then start runprojections again or run manage.py "
        "retryfailedevents TrainingSchoolProjection",
    ]


@pytest.mark.any_database
def test_a_start_is_not_advised_where_it_would_not_help(
    row: ProjectionTracking,
) -> None:
    change(row, state="paused", error="ended 3 times", attempted_position=8)

    assert table()[2].endswith(
        "then run manage.py retryfailedevents TrainingSchoolProjection"
    )
    assert "start runprojections" not in table()[2]


def test_a_pause_that_a_retry_tries_to_end_is_shown_as_retrying(
    row: ProjectionTracking,
) -> None:
    change(
        row, state="paused", error="x", owner="h:1:s:r", leased_until=DatabaseTime(60)
    )

    assert [(shown["state"], shown["error"]) for shown in listed()] == [
        ("retrying", "x")
    ]


def test_events_that_are_put_aside_are_counted(row: ProjectionTracking) -> None:
    park(row, 3, topic="t", error="KeyError: 'x'")
    assert (
        "  1 failed event is put aside: fix the cause, then "
        "run manage.py retryfailedevents TrainingSchoolProjection"
    ) in table()
    park(row, 5, topic="t")

    [shown] = listed()

    assert (shown["failed"], shown["waiting"]) == (1, 1)
    assert "2 failed events are put aside" in shown["advice"][-1]
    assert table()[0].endswith("       1        1")


def test_failed_events_without_a_position_are_counted(row: ProjectionTracking) -> None:
    park(row, 3, topic="t")
    row.delete()

    assert [(shown["failed"], shown["waiting"]) for shown in listed()] == [(0, 1)]


@pytest.mark.any_database
def test_a_changed_definition_is_noticed(row: ProjectionTracking) -> None:
    assert listed()[0]["definition_changed"] is False

    change(row, fingerprint="0" * 64)

    [shown] = listed()
    assert shown["definition_changed"] is True
    assert (
        "  its definition changed since the read models were begun: rebuild advised"
    ) in table()
    assert f"run manage.py rebuildprojection {row.projection}" in shown["advice"][-1]


@pytest.mark.any_database
def test_a_rebuild_is_told_of(row: ProjectionTracking) -> None:
    [shown] = listed()
    assert (shown["replay_until"], shown["is_rebuild_requested"]) == (None, False)

    change(row, rebuild_requested_at=timezone.now())
    [shown] = listed()
    assert shown["is_rebuild_requested"] is True
    assert "  A rebuild is asked for, and has yet to begin." in table()

    change(row, position=7, replay_until=70, rebuild_requested_at=None)
    [shown] = listed()
    assert shown["replay_until"] == 70
    assert any("events up to position 70 are processed" in line for line in table())
    change(row, position=70)
    [shown] = listed()
    assert shown["replay_until"] is None
    assert not any("started over" in line for line in table())


@pytest.mark.any_database
@pytest.mark.parametrize(
    "changes", [{"fingerprint": ""}, {"fingerprint": "0" * 64, "position": None}]
)
def test_what_was_not_begun_with_a_known_definition_has_not_changed(
    row: ProjectionTracking, changes: dict[str, Any]
) -> None:
    change(row, **changes)

    assert listed()[0]["definition_changed"] is False


@pytest.mark.any_database
def test_a_view_that_is_kept_elsewhere_has_a_state(
    registration: Callable[..., Registration], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = registration(view_class=POPOTrackingRecorder)
    monkeypatch.setitem(registry._registry, elsewhere.name, elsewhere)
    lease = acquire_lease(elsewhere.tracked(), new_owner(), 60)
    assert lease is not None
    lease.set_state(ProjectionState.RUNNING)

    [shown] = listed()

    assert (shown["state"], shown["position"]) == ("running", None)
    assert shown["view"] == "eventsourcing.popo.POPOTrackingRecorder"


@pytest.mark.any_database
def test_positions_without_code_are_shown_last() -> None:
    ProjectionTracking.objects.create(projection="Old", application="App", position=5)
    ProjectionTracking.objects.create(projection="Never", application="App")

    known, unknown = listed()

    assert known["is_registered"] is True
    assert (unknown["name"], unknown["position"]) == ("Old", 5)
    assert (unknown["is_registered"], unknown["view"]) == (False, None)
    assert unknown["topics"] == []
    assert table()[-3].startswith("stopped  Old  ")
    assert table()[-2] == (
        "  not registered: it was renamed, moved or removed, and its read models "
        "are not updated any more"
    )


@pytest.mark.any_database
def test_a_name_with_another_application_is_not_registered(
    row: ProjectionTracking,
) -> None:
    change(row, application="Former")

    assert [(s["application"], s["is_registered"]) for s in listed()] == [
        ("TrainingSchool", True),
        ("Former", False),
    ]


def test_a_row_from_a_replica_is_known(row: ProjectionTracking, settings: Any) -> None:
    row._state.db = "replica"
    assert registration_of(row) is None

    settings.DATABASE_ROUTERS = ["tests.support.apps.router.PrimaryRouter"]

    assert registration_of(row) is not None


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("changes", "is_well"),
    [
        ({"state": "running", "owner": "h:1:s:r"}, True),
        ({"state": "running", "owner": "h:1:s:r", "fingerprint": "0" * 64}, False),
        ({"state": "retrying", "owner": "h:1:s:r", "error": "x"}, False),
        ({"state": "running"}, False),
        ({"state": "paused", "error": "x"}, False),
        ({"state": "stopped"}, False),
        ({"state": "failed", "error": "x"}, False),
    ],
)
def test_the_exit_status_says_whether_all_is_well(
    row: ProjectionTracking, changes: dict[str, Any], is_well: bool
) -> None:
    change(row, **changes)
    if "owner" in changes:
        change(row, leased_until=DatabaseTime(60))
    assert [shown["is_well"] for shown in listed()] == [is_well]
    if is_well:
        call_command("showprojections", stdout=io.StringIO())
        return

    with pytest.raises(
        CommandError, match=r"^Not well: TrainingSchoolProjection \("
    ) as caught:
        call_command("showprojections", stdout=io.StringIO())

    assert caught.value.returncode == 1


@pytest.mark.any_database
def test_one_that_had_caught_up_when_it_was_stopped_is_well(
    row: ProjectionTracking,
) -> None:
    lag = ProjectionLag.objects.create(
        tracking=row, head=7, total=0, is_exact=True, measured_at=timezone.now()
    )
    call_command("showprojections", stdout=io.StringIO())

    lag.head, lag.total = 9, 1
    lag.save()

    assert [shown["is_well"] for shown in listed()] == [False]
