"""What a build that has ended or was broken off leaves, and who drops it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_esdb.management.commands import _rebuild_beside
from django_esdb.models import RebuildBeside
from django_esdb.registry import Registration
from django_esdb.status.status import projection_statuses
from example_project.training_school.application import TrainingSchool
from tests.support.building_beside import (
    NAME,
    build_beside,
    interrupt,
    is_nothing_left,
    names,
    second_tables,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_has_switched_and_is_still_there_is_dropped_at_the_next_start(
    spoilt: TrainingSchool, school_projection: Registration, monkeypatch: Any
) -> None:
    for command in ("runprojections", "rebuildprojection"):
        with monkeypatch.context() as patched:
            # As if the process were killed then.
            patched.setattr(_rebuild_beside, "finish_ended", lambda of: iter(()))
            build_beside(NAME)
        assert names() == ["Fido", "Rex"]
        assert second_tables()
        [status] = projection_statuses()
        assert "has ended and left tables" in status.advice[-1]
        out = io.StringIO()
        if command == "runprojections":
            call_command(command, "--until-caught-up", stdout=out)
        else:
            out.write(build_beside(NAME))
        assert f"Dropped what a former rebuild of {NAME} has left" in out.getvalue()
        assert is_nothing_left()


def test_aborting_leaves_nothing_and_says_if_there_was_nothing(
    spoilt: TrainingSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "nothing to abort" in build_beside(NAME, "--abort")
    interrupt(monkeypatch, "switch")
    with pytest.raises(CommandError):
        build_beside(NAME)
    assert len(second_tables()) == 2

    assert "the rows in use stand" in build_beside(NAME, "--abort")

    assert is_nothing_left()
    assert names() == ["Fido", "wrong"]


def test_tables_that_are_half_made_are_made_again(
    spoilt: TrainingSchool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_esdb.rebuilding.beside import tables

    made: list[Any] = []
    create = tables._create

    def create_one(editor: Any, model: Any) -> None:
        if getattr(editor, "collect_sql", False):
            create(editor, model)
            return
        made.append(model)
        if len(made) == 2:
            raise KeyboardInterrupt
        create(editor, model)

    with monkeypatch.context() as patched:
        patched.setattr(tables, "_create", create_one)
        with pytest.raises((CommandError, KeyboardInterrupt)):
            build_beside(NAME)
    assert RebuildBeside.objects.exists()

    assert f"Building {NAME}" in build_beside(NAME)
    assert names() == ["Fido", "Rex"]
    assert is_nothing_left()


def test_tables_that_no_build_has_made_are_left_alone(spoilt: TrainingSchool) -> None:
    table = connection.ops.quote_name("training_school_dog__beside")
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (id integer)")
    try:
        with pytest.raises(CommandError, match="there is a table") as refused:
            build_beside(NAME)
        assert refused.value.returncode == 2
        assert second_tables() == ["training_school_dog__beside"]
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {table}")
