"""What ``manage.py showprojections`` says, and where it comes from."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from eventsourcing.popo import POPOTrackingRecorder
from rich.cells import cell_len

from django_esdb.db.functions import DatabaseTime
from django_esdb.leases.lease import acquire_lease
from django_esdb.leases.process_identity import new_owner
from django_esdb.models import FailedEvent, ProjectionState, ProjectionTracking
from django_esdb.registry import Registration, registry
from django_esdb.status.advice import LOST
from django_esdb.status.fingerprints import fingerprint
from django_esdb.status.status import registration_of

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


def table(*names: str) -> list[str]:
    out = io.StringIO()
    call_command("showprojections", *names, stdout=out)
    return out.getvalue().splitlines()


def listed() -> list[dict[str, Any]]:
    out = io.StringIO()
    call_command("showprojections", "--json", stdout=out)
    return json.loads(out.getvalue())


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

    assert shown["projection"] == "TrainingSchoolProjection"
    assert shown["is_registered"] is True
    assert shown["definition_changed"] is False
    assert shown["state"] == "stopped"
    assert shown["database"] == "default"
    for key in ("position", "updated_at", "state_since", "leased_until"):
        assert shown[key] is None
    assert (shown["owner"], shown["error"], shown["advice"]) == ("", "", [])
    assert (shown["failed_events"], shown["attempts"]) == (0, 0)
    assert table() == [
        "stopped TrainingSchoolProjection",
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
    assert shown["leased_until"] > shown["state_since"]
    host, process, _, random = owner.split(":")
    assert line.endswith(f", owner {host}:{process}")
    assert process == str(os.getpid())
    assert random not in line
    assert head == "running TrainingSchoolProjection"


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
    assert shown["state_since"] == shown["leased_until"]
    assert shown["advice"][0].startswith("lost: ")
    assert table()[1] == f"  {shown['advice'][0]}"


def test_one_whose_process_is_known_to_be_gone_is_lost(
    row: ProjectionTracking, gone: str
) -> None:
    change(row, state="running", owner=gone, leased_until=DatabaseTime(60))

    [shown] = listed()

    assert (shown["state"], shown["state_since"]) == (LOST, None)


def test_a_pause_is_shown_with_its_reason_and_what_to_do(
    row: ProjectionTracking,
) -> None:
    change(row, state="paused", error="KeyError: 'x'", state_since=timezone.now())

    [shown] = listed()
    lines = table()

    assert (shown["state"], shown["error"]) == ("paused", "KeyError: 'x'")
    assert lines[:3] == [
        "paused TrainingSchoolProjection",
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
    assert table()[1] == (
        "  1 failed event is put aside: fix the cause, then "
        "run manage.py retryfailedevents TrainingSchoolProjection"
    )
    park(row, 5, topic="t")

    [shown] = listed()

    assert shown["failed_events"] == 2
    assert "2 failed events are put aside" in shown["advice"][0]


def test_failed_events_without_a_position_are_counted(row: ProjectionTracking) -> None:
    park(row, 3, topic="t")
    row.delete()

    assert [shown["failed_events"] for shown in listed()] == [1]


def test_a_changed_definition_is_noticed(row: ProjectionTracking) -> None:
    assert listed()[0]["definition_changed"] is False

    change(row, fingerprint="0" * 64)

    [shown] = listed()
    assert shown["definition_changed"] is True
    assert table()[1] == (
        "  its definition changed since the read models were begun: rebuild advised"
    )


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
    assert (unknown["projection"], unknown["position"]) == ("Old", 5)
    assert (unknown["is_registered"], unknown["view"]) == (False, None)
    assert unknown["topics"] == []
    assert table()[-3] == "stopped Old"
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

    lines = [*table(), *table("TrainingSchoolProjection")]

    assert max(map(cell_len, lines)) <= max(int(columns), 4)
    assert all(line.isprintable() for line in lines)
    said = "".join("".join(lines).split())
    assert said.startswith("retryingTrainingSchoolProjection<script>\\x1b[31m\\u202e")
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
    out = io.StringIO()

    call_command("showprojections", stdout=out, force_color=True)

    assert "\x1b[31mpaused" in out.getvalue()
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
