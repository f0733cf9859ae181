"""A rebuild that is killed continues, in the same command or in a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.processes import SECONDS
from tests.support.projects import Project
from tests.support.stores import school_at
from tests.support.supervising import wait_until
from tests.support.workers import (
    command,
    is_sqlite,
    wait_for_handler,
    wait_for_stop,
    worker,
)

NAME = "TrainingSchoolProjection"


def rows(project: Project) -> tuple[list[tuple[str]], list[tuple[int, int]]]:
    return (
        project.query("SELECT name FROM training_school_dog"),
        project.query("SELECT dogs, tricks FROM training_school_schoolcounts"),
    )


@pytest.mark.parametrize(
    "goes_on",
    ["command", pytest.param("worker", marks=pytest.mark.any_database)],
)
def test_who_is_killed_in_the_middle_is_followed_by_another(
    project: Project, server: EmbeddedServer, tmp_path: Path, goes_on: str
) -> None:
    project.env["DJANGO_SETTINGS_MODULE"] = "tests.support.fault_injection.settings"
    project.env["FAULTS_DIRECTORY"] = str(tmp_path)
    with school_at(server) as school:
        school.register("Fido")
        school.add_trick("Fido", "sit")
        last = school.add_trick("Fido", "wait")
    (tmp_path / "go").touch()
    project.manage("runprojections", "--until-caught-up")
    assert rows(project) == ([("Fido",)], [(1, 2)])
    (tmp_path / "go").unlink()
    options = (NAME, "--no-input", "--batch-size", "1")
    with command(project, "rebuildprojection", *options) as first:
        first.wait_for(f"Rebuilding {NAME}")
        wait_for_handler(tmp_path, first)
        first.process.kill()
        first.process.wait(SECONDS)
    # Two events are committed, the third is undone.
    assert rows(project) == ([("Fido",)], [(1, 1)])

    (tmp_path / "go").touch()
    if goes_on == "command":
        result = project.manage("rebuildprojection", *options)
        assert f"Continuing the rebuild of {NAME}" in result.stdout
        assert f"{NAME} is rebuilt from 3 events" in result.stdout
    else:
        with worker(project, "--until-caught-up") as second:
            second.wait_for("All caught up")

    assert rows(project) == ([("Fido",)], [(1, 2)])
    assert project.position() >= last


@pytest.mark.any_database
def test_a_worker_stands_by_and_the_first_signal_stops_a_rebuild(
    project: Project, server: EmbeddedServer, tmp_path: Path
) -> None:
    project.env["DJANGO_SETTINGS_MODULE"] = "tests.support.fault_injection.settings"
    project.env["FAULTS_DIRECTORY"] = str(tmp_path)
    with school_at(server) as school:
        school.register("Fido")
        school.add_trick("Fido", "wait")
        last = school.add_trick("Fido", "sit")
    (tmp_path / "go").touch()
    options = (NAME, "--no-input", "--batch-size", "1", "--shutdown-timeout", "60")
    with worker(project) as running:
        running.wait_for(f"Running {NAME}")
        wait_until(lambda: (project.position() or 0) >= last)
        (tmp_path / "go").unlink()
        (tmp_path / f"waiting-{running.process.pid}").unlink()
        with command(project, "rebuildprojection", *options) as rebuild:
            wait_for_handler(tmp_path, rebuild)
            if not is_sqlite(project):
                # There it cannot see that before the transaction is over.
                running.wait_for(f"Standing by for {NAME}, which")
            rebuild.process.terminate()
            wait_for_stop(tmp_path, rebuild)
            (tmp_path / "go").touch()
            assert rebuild.status() == 1
            rebuild.wait_for("the same command continues there")
        running.wait_for(f"Running {NAME}", 2)
        assert running.terminate() == 0
    project.manage("runprojections", "--until-caught-up")
    assert rows(project) == ([("Fido",)], [(1, 2)])
