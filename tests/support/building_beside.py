"""``rebuildprojection --beside`` in the test's own process, and what it leaves."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_esdb.management.commands import _rebuild_beside
from django_esdb.management.commands.rebuildprojection import Command
from django_esdb.models import (
    ProjectionTracking,
    RebuildBeside,
)
from django_esdb.registered_names import BESIDE
from example_project.training_school.models import Dog, SchoolCounts
from example_project.training_school.projections import TrainingSchoolProjection


class OwnProcess(Command):
    """The command, as if the process were its own."""

    is_from_shell = True

    def expect_many_objects(self) -> None:
        """The tests' process continues."""


def build_beside(name: str, *arguments: str, **options: Any) -> str:
    """Run the command, and return what it has said."""
    out = io.StringIO()
    options = {"stdout": out, "stderr": out, **options}
    arguments = (name, "--beside", "--no-progress", *arguments)
    call_command(OwnProcess(), *arguments, **options)
    return out.getvalue()


def second_tables() -> list[str]:
    """Return the tables of second sets that the database has."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
    return [table for table in tables if BESIDE in table]


def is_nothing_left() -> bool:
    """Tell whether no build has left anything."""
    rows = ProjectionTracking.objects.filter(projection__endswith=BESIDE)
    return not (second_tables() or rows.exists() or RebuildBeside.objects.exists())


NAME = TrainingSchoolProjection.name


def counts() -> list[tuple[int, int]]:
    return list(SchoolCounts.objects.values_list("dogs", "tricks"))


def row(name: str = NAME) -> ProjectionTracking:
    return ProjectionTracking.objects.get(projection=name)


def names() -> list[str]:
    return sorted(Dog.objects.values_list("name", flat=True))


def interrupt(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """Have what the command does be broken off there, as by Ctrl-C."""

    def broken_off(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_rebuild_beside, function, broken_off)


def in_thread(*arguments: str) -> tuple[threading.Thread, list[str]]:
    said: list[str] = []

    def build() -> None:
        try:
            said.append(build_beside(*arguments))
        except CommandError as error:
            said.append(str(error))
        finally:
            connection.close()

    thread = threading.Thread(target=build)
    thread.start()
    return thread, said


def abort(name: str) -> None:
    try:
        call_command("rebuildprojection", name, "--abort", stdout=io.StringIO())
    finally:
        connection.close()
