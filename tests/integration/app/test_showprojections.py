"""What ``manage.py showprojections`` says, and where it comes from."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone
from eventsourcing.popo import POPOTrackingRecorder
from rich.cells import cell_len

from django_esdb.db.functions import DatabaseTime
from django_esdb.leases.lease import acquire_lease
from django_esdb.leases.process_identity import new_owner
from django_esdb.models import (
    FailedEvent,
    ProjectionLag,
    ProjectionState,
    ProjectionTracking,
)
from django_esdb.registry import Registration, registry
from django_esdb.status.advice import LOST
from django_esdb.status.fingerprints import fingerprint
from django_esdb.status.rows import registration_of
from django_esdb.status.status import projection_statuses

pytestmark = pytest.mark.django_db

HOSTILE = "<script>\n\x1b[31m\u202e " + "x" * 3000
SECRET = "s3cret-w0rd"


@pytest.fixture(autouse=True)
def _store(settings: Any) -> None:
    # It is not asked.
    settings.ESDB_URI = "esdb://127.0.0.1:9?Tls=false"


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def row(school_projection: Registration) -> ProjectionTracking:
    """The tracking row of the example's projection, which has processed something."""
    row = school_projection.tracked().row()
    change(row, position=7, fingerprint=fingerprint(school_projection))
    return row


@pytest.fixture
def gone() -> Iterator[str]:
    """The name of a process that has ended."""
    code = (
        "import django; django.setup();"
        "from django_esdb.leases.process_identity import new_owner; print(new_owner())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def change(row: ProjectionTracking, **changes: Any) -> None:
    ProjectionTracking.objects.filter(pk=row.pk).update(**changes)


def printed(*arguments: str, **options: Any) -> str:
    """Return what the command prints, whether all is well or not."""
    out = io.StringIO()
    try:
        call_command("showprojections", *arguments, stdout=out, **options)
    except CommandError as error:
        if not str(error).startswith("Not well: "):
            raise
    return out.getvalue()


def table(*names: str) -> list[str]:
    """Return the lines below the titles."""
    return printed(*names).splitlines()[1:]


def listed() -> list[dict[str, Any]]:
    return json.loads(printed("--json"))


def park(row: ProjectionTracking, position: int, **values: Any) -> FailedEvent:
    return FailedEvent.objects.create(
        projection=row.projection,
        application=row.application,
        position=position,
        originator_version=1,
        parked_at=timezone.now(),
        **values,
    )


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
        ProjectionState.RETRYING,
        ProjectionState.STANDING_BY,
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


def test_one_whose_process_is_known_to_be_gone_is_lost(
    row: ProjectionTracking, gone: str
) -> None:
    change(row, state="running", owner=gone, leased_until=DatabaseTime(60))

    [shown] = listed()

    assert (shown["state"], shown["since"]) == (LOST, None)


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


def test_a_changed_definition_is_noticed(row: ProjectionTracking) -> None:
    assert listed()[0]["definition_changed"] is False

    change(row, fingerprint="0" * 64)

    [shown] = listed()
    assert shown["definition_changed"] is True
    assert (
        "  its definition changed since the read models were begun: rebuild advised"
    ) in table()
    assert f"run manage.py rebuildprojection {row.projection}" in shown["advice"][-1]


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


@pytest.mark.parametrize(
    "changes", [{"fingerprint": ""}, {"fingerprint": "0" * 64, "position": None}]
)
def test_what_was_not_begun_with_a_known_definition_has_not_changed(
    row: ProjectionTracking, changes: dict[str, Any]
) -> None:
    change(row, **changes)

    assert listed()[0]["definition_changed"] is False


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


@pytest.mark.parametrize("columns", ["1", "5", "20", "60", "160", "1500"])
def test_all_is_said_in_lines_as_wide_as_the_terminal(
    row: ProjectionTracking, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    change(row, state="retrying", error=HOSTILE, traceback=f"{HOSTILE}\n  File x")
    change(row, owner=f"{'h' * 60}:1:s:r", leased_until=DatabaseTime(60))
    change(row, position=2**62, attempts=3)
    ProjectionTracking.objects.create(
        projection="p\x1b\n" * 50, application="\u202eA" + "長" * 50, position=5
    )
    [status, _] = listed()

    lines = [*printed().splitlines(), *printed(status["name"]).splitlines()]
    assert max(map(cell_len, lines)) <= max(int(columns), 4)
    assert all(line.isprintable() for line in lines)
    said = "".join("".join(lines).split())
    assert "<script>\\x1b[31m\\u202e" in said
    for whole in (status["error"], str(2**62), "h" * 60):
        assert "".join(whole.split()) in said


def test_without_a_terminal_no_line_is_wrapped(row: ProjectionTracking) -> None:
    change(row, state="retrying", error="e " * 450 + "cause")

    assert table()[1].endswith("e e cause")


def test_what_is_stored_is_no_markup(row: ProjectionTracking) -> None:
    error = "[red]x[/red] [/] [link=https://example.com]y :boom:"
    change(row, state="paused", error=error)

    assert table()[1].endswith(error)


def test_colours_are_for_terminals_that_want_them(row: ProjectionTracking) -> None:
    change(row, state="paused", error="x")

    assert "\x1b[31mpaused" in printed(force_color=True)
    assert all(line.isprintable() for line in table())


def test_no_secret_is_shown(row: ProjectionTracking) -> None:
    address = f"esdb://admin:{SECRET}@localhost:2113"
    change(row, state="paused", error=f"cannot connect to {address}")

    assert SECRET not in "\n".join(table()) + json.dumps(listed())
    assert "cannot connect to esdb://***" in table()[1]


PLACE = (
    "Traceback (most recent call last):\n"
    '  File "projections.py", line 7, in _\n'
    "    1 / 0\n"
    "ZeroDivisionError: division by zero"
)


def test_a_projection_that_is_named_is_shown_with_its_places(
    row: ProjectionTracking,
) -> None:
    change(row, state="paused", error="ZeroDivisionError", traceback=PLACE)
    failed = park(row, 3, topic="t", error="KeyError: 'x'", traceback=PLACE)
    park(row, 5, topic="t")

    named = table("TrainingSchoolProjection")

    place = [f"    {line}" for line in PLACE.splitlines()]
    assert named[1:6] == ["  ZeroDivisionError", *place]
    assert named[-5:] == [f"  failed event {failed.pk} at 3: KeyError: 'x'", *place]
    assert "Traceback" not in "\n".join(table())
    assert listed()[0]["traceback"] == PLACE


def test_a_name_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        CommandError, match="no projection 'Nobody'; there are: TrainingSchoolProj"
    ) as caught:
        table("Nobody")

    assert caught.value.returncode == 2


def test_no_secret_is_in_a_traceback(row: ProjectionTracking) -> None:
    address = f"esdb://admin:{SECRET}@localhost:2113"
    change(row, state="paused", error="x", traceback=f"File x\n  connect('{address}')")

    assert SECRET not in "\n".join(table(row.projection)) + json.dumps(listed())


def ended_by_ctrl_c(monkeypatch: pytest.MonkeyPatch, *looks: Callable[[], Any]) -> None:
    """Have the command do something after each look, and then get Ctrl-C."""
    left = list(looks)

    def sleep(seconds: float) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop(0)()

    monkeypatch.setattr(
        "django_esdb.management.commands.showprojections.time.sleep", sleep
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_watch_shows_what_changes_until_ctrl_c(
    row: ProjectionTracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_by_ctrl_c(monkeypatch, lambda: change(row, state="paused", error="x"))

    lines = printed("--watch").splitlines()

    assert [line.split()[0] for line in lines if "  Train" in line] == [
        "stopped",
        "paused",
    ]


def test_a_watch_in_json_is_a_line_for_each_look(
    row: ProjectionTracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_by_ctrl_c(monkeypatch, lambda: change(row, position=8))

    looks = [json.loads(line) for line in printed("--watch", "--json").split("\n")[:2]]

    assert [[each["position"] for each in look] for look in looks] == [[7], [8]]


def test_a_watch_draws_over_what_was_there(
    row: ProjectionTracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "6")
    ended_by_ctrl_c(monkeypatch, lambda: None)
    out = Terminal()

    call_command("showprojections", "--watch", stdout=out, no_color=True)

    first, *drawn = out.getvalue().split("\x1b[H")
    assert first == ""
    assert len(drawn) == 2
    for each in drawn:
        assert each.rstrip("\n").endswith("\x1b[J")
        # All that there is room for, and how much is left out.
        assert each.count("\n") <= 7
        assert "more lines: name a projection" in each


def test_a_watch_outlives_the_database(
    row: ProjectionTracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Any:
        msg = f"cannot connect to esdb://me:{SECRET}@host"
        raise OperationalError(msg)

    command = "django_esdb.management.commands.showprojections"
    look = projection_statuses
    monkeypatch.setattr(f"{command}.projection_statuses", fail)
    # Within a test's transaction no other connection would see anything.
    monkeypatch.setattr(f"{command}.connections.close_all", lambda: None)
    ended_by_ctrl_c(
        monkeypatch,
        lambda: monkeypatch.setattr(f"{command}.projection_statuses", look),
    )

    text = printed("--watch")

    assert "Cannot use a database: cannot connect to esdb://***" in text
    assert SECRET not in text
    assert "TrainingSchoolProjection" in text


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


def test_figures_are_in_columns_and_in_json(row: ProjectionTracking) -> None:
    now = timezone.now()
    change(row, state="running", owner="h:1:s:r", leased_until=DatabaseTime(60))
    change(row, processed=10, event_time=now - timedelta(seconds=7290))
    ProjectionLag.objects.create(
        tracking=row,
        head=99,
        head_time=now - timedelta(seconds=90),
        total=1234,
        rate=612.0,
        speed=46.0,
        measured_at=now,
    )

    [shown] = listed()

    assert {key: shown[key] for key in ("head", "behind_events", "rate")} == {
        "head": 99,
        "behind_events": 1224,
        "rate": 612.0,
    }
    assert shown["behind_is_exact"] is False
    assert (shown["behind_seconds"], shown["eta_seconds"]) == (7200.0, 2.0)
    assert table()[0] == (
        "running  TrainingSchoolProjection  at least 1224  2 h  612/s   2 s       0"
        "        0"
    )
    assert "position 7, head 99," in table()[1]


def test_what_has_no_room_in_the_table_stands_below(
    row: ProjectionTracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    ProjectionLag.objects.create(
        tracking=row, head=99, total=5, is_exact=True, measured_at=timezone.now()
    )
    monkeypatch.setenv("COLUMNS", "35")

    text = " ".join(printed().split())

    assert text.startswith("STATE PROJECTION stopped TrainingSchoolProjection")
    assert "behind 5" in text


def test_how_old_a_measurement_is_is_said(row: ProjectionTracking) -> None:
    hour_ago = timezone.now() - timedelta(hours=1)
    ProjectionLag.objects.create(
        tracking=row, head=9, total=3, is_exact=True, measured_at=hour_ago
    )
    assert "at least 3" in table()[0]
    assert "lag measured " in table()[2]

    ProjectionLag.objects.update(unknown_since=hour_ago)

    assert "lag unknown since " in table()[2]
