"""Rows of projections that no code, or another database, has any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.projects import Project, move_to_reports


@pytest.mark.any_database
def test_a_start_says_which_rows_are_not_those_of_the_code(project: Project) -> None:
    project.python(
        "from django_esdb.models import ProjectionTracking as T\n"
        "T.objects.create(projection='Old', application='App', position=5)\n"
        "T.objects.create(projection='TrainingSchoolProjection', position=0,\n"
        "                 application='TrainingSchool', fingerprint='0')\n"
    )

    said = project.manage("runprojections", "--until-caught-up").stderr.splitlines()

    assert said == [
        "Projection 'Old' of 'App' is not registered, yet has a position in database "
        "'default': it was renamed, moved or removed, and its read models are not "
        "updated any more",
        "Projection 'TrainingSchoolProjection': its definition changed since the read "
        "models were begun: rebuild advised",
    ]


@pytest.mark.any_database
def test_rows_that_were_left_in_another_database_are_shown(
    project: Project, tmp_path: Path
) -> None:
    project.python(
        "from django_esdb.models import ProjectionTracking as T\n"
        "T.objects.create(projection='TrainingSchoolProjection', position=5,\n"
        "                 application='TrainingSchool')\n"
    )
    move_to_reports(project, tmp_path)

    def databases() -> list[tuple[str, int | None, bool]]:
        out = project.manage("showprojections", "--json", check=False).stdout
        return [
            (shown["database"], shown["position"], shown["is_registered"])
            for shown in json.loads(out)
        ]

    assert databases() == [("reports", None, True), ("default", 5, False)]
    # What nothing is kept in needs no tables.
    project.manage("migrate", "--verbosity", "0", "django_esdb", "zero")
    assert databases() == [("reports", None, True)]


@pytest.mark.any_database
def test_a_projection_that_is_not_registered_any_more_is_named(
    project: Project, tmp_path: Path
) -> None:
    project.python(
        "from django_esdb.models import ProjectionTracking as T;"
        "T.objects.create(projection='Old', application='TrainingSchool', position=7);"
        "T.objects.create(projection='Never', application='TrainingSchool')"
    )

    result = project.manage("runprojections", "--until-caught-up")

    assert result.stdout.splitlines()[-1] == "All caught up"
    assert result.stderr.count("\n") == 1
    assert "'Old' of 'TrainingSchool' is not registered" in result.stderr
