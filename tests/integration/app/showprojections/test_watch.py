"""``showprojections --watch``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError

from django_esdb.models import ProjectionTracking
from django_esdb.status.status import projection_statuses
from tests.support.projection_tables import SECRET, Terminal, change, printed

pytestmark = pytest.mark.django_db


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


def test_a_watch_shows_what_changes_until_ctrl_c(
    row: ProjectionTracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_by_ctrl_c(monkeypatch, lambda: change(row, state="paused", error="x"))

    lines = printed("--watch").splitlines()

    assert [line.split()[0] for line in lines if "  Train" in line] == [
        "stopped",
        "paused",
    ]


@pytest.mark.any_database
def test_a_watch_in_json_is_a_line_for_each_look(
    row: ProjectionTracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_by_ctrl_c(monkeypatch, lambda: change(row, position=8))

    looks = [json.loads(line) for line in printed("--watch", "--json").split("\n")[:2]]

    assert [[each["position"] for each in look] for look in looks] == [[7], [8]]


@pytest.mark.any_database
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
