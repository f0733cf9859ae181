"""How projections are shown: as wide as the terminal, and with no secret."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.utils import timezone
from rich.cells import cell_len

from django_esdb.db.functions import DatabaseTime
from django_esdb.models import (
    ProjectionLag,
    ProjectionTracking,
)
from tests.support.projection_tables import (
    HOSTILE,
    SECRET,
    change,
    listed,
    park,
    printed,
    table,
)

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


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
        CommandError, match="no projection 'Unknown'; there are: TrainingSchoolProj"
    ) as caught:
        table("Unknown")

    assert caught.value.returncode == 2


def test_no_secret_is_in_a_traceback(row: ProjectionTracking) -> None:
    address = f"esdb://admin:{SECRET}@localhost:2113"
    change(row, state="paused", error="x", traceback=f"File x\n  connect('{address}')")

    assert SECRET not in "\n".join(table(row.projection)) + json.dumps(listed())


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
