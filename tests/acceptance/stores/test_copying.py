"""``copyevents`` as users run it, and as it is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eventsourcing_eventstoredb import EventStoreDBFactory
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from tests.support.projects import Project
from tests.support.supervising import wait_until

DOGS = 400
SCHOOL = f"{TrainingSchool.__module__}:{TrainingSchool.__qualname__}"


@pytest.mark.own_store("its log must have what was copied alone")
@pytest.mark.slow("starts three processes, of which two are killed")
def test_a_copy_that_is_killed_goes_on(
    project: Project, server: Any, tmp_path: Path
) -> None:
    env = {
        "PERSISTENCE_MODULE": "eventsourcing.sqlite",
        "SQLITE_DBNAME": str(tmp_path / "old.sqlite3"),
    }
    school = TrainingSchool(env)
    for number in range(DOGS):
        dog = Dog(f"dog {number}")
        dog.add_trick("sit")
        school.save(dog)
    expected = [
        (UUID(str(each.originator_id)), each.originator_version, each.state)
        for each in school.recorder.select_notifications(None, 10 * DOGS)
    ]
    school.close()
    factory = EventStoreDBFactory({"EVENTSTOREDB_URI": project.env["EVENTSTOREDB_URI"]})
    recorder = factory.application_recorder()
    command = (
        "copyevents",
        SCHOOL,
        "--from",
        *(f"{key}={value}" for key, value in env.items()),
    )

    def copied() -> int:
        return len(recorder.select_notifications(None, 10 * DOGS))

    for _ in range(2):
        before = copied()
        with project.running(*command) as process:
            wait_until(
                lambda before=before, process=process: (  # type: ignore[misc]
                    copied() > before or process.poll() is not None
                )
            )
            process.kill()
            process.communicate()
    output = project.manage(*command, "--no-progress").stdout

    assert output.startswith("Copied ")
    found = recorder.select_notifications(None, 10 * DOGS)
    factory.close()
    assert [
        (each.originator_id, each.originator_version, each.state) for each in found
    ] == expected
