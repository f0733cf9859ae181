"""``runprojections`` on other stores, as users run it."""

from __future__ import annotations

import json
import signal

import pytest

from example_project.training_school.application import TrainingSchool
from tests.support.projects import Project

WRITE = """
from django_esdb.applications.shared import close_applications, get_application
from example_project.training_school.application import TrainingSchool
school = get_application(TrainingSchool)
{}
close_applications()
"""
ROWS = """
import json
from example_project.training_school.models import Dog, SchoolCounts
print(json.dumps([
    {dog.name: dog.tricks for dog in Dog.objects.all()},
    list(SchoolCounts.objects.values_list("dogs", "tricks")),
]))
"""


@pytest.fixture
def elsewhere(project: Project, library_store: dict[str, str]) -> Project:
    """The project, with its events in another store."""
    del project.env["EVENTSTOREDB_URI"]
    prefix = TrainingSchool.name.upper()
    project.env.update(
        {f"{prefix}_{key}": value for key, value in library_store.items()}
    )
    if library_store["PERSISTENCE_MODULE"] == "eventsourcing_django":
        project.env["DJANGO_SETTINGS_MODULE"] = (
            "tests.support.eventsourcing_django_settings"
        )
        project.manage("migrate", "--verbosity", "0")
    return project


@pytest.mark.slow("starts six processes, one after the other")
@pytest.mark.parametrize(
    "library_store", ["sqlite", "postgresql", "eventsourcing-django"], indirect=True
)
def test_events_of_processes_become_rows(elsewhere: Project) -> None:
    elsewhere.manage("check")
    elsewhere.python(WRITE.format("school.register('Fido')"))
    with elsewhere.running("runprojections") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Running")
        wait = (
            "from example_project.training_school import projections as p\n"
            "last = school.add_trick('Fido', 'sit')\n"
            "p.TrainingSchoolView(p.TrainingSchoolProjection.name)"
            ".wait(school.name, last, timeout=60)"
        )
        elsewhere.python(WRITE.format(wait))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0

    elsewhere.python(WRITE.format("school.add_trick('Fido', 'roll over')"))
    elsewhere.manage("runprojections", "--until-caught-up")

    rows = json.loads(elsewhere.python(ROWS))
    assert rows == [{"Fido": ["sit", "roll over"]}, [[1, 2]]]
    assert "stopped" in elsewhere.manage("showprojections").stdout
