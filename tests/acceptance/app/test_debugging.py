"""Processes that step through events, and do not come to their end."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from example_project.training_school.domain import Dog
from tests.support.projects import ROOT, Project

# Its handler of tricks writes a row, says so, and never ends.
MANAGE_PY = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
import django
django.setup()
from django.core.management import execute_from_command_line
from example_project.training_school.models import Dog
from example_project.training_school.projections import TrainingSchoolView


def add_trick(self, dog_id, trick, tracking):
    with self.atomic(tracking):
        Dog.objects.create(id="00000000-0000-4000-8000-000000000000", name="Left")
        print("in the handler", flush=True)
        while True:
            time.sleep(0.05)


TrainingSchoolView.add_trick = add_trick
execute_from_command_line(sys.argv)
"""


@pytest.fixture
def hanging(project: Project, tmp_path: Path) -> Project:
    """The project, with a handler that hangs, and an event for it."""
    project.python(
        "from django_esdb import get_application\n"
        "from example_project.training_school.application import TrainingSchool\n"
        "school = get_application(TrainingSchool)\n"
        "school.register('Fido')\n"
        "school.add_trick('Fido', 'sit')\n"
    )
    manage_py = tmp_path / "manage.py"
    manage_py.write_text(MANAGE_PY)
    return replace(project, manage_py=manage_py)


def arguments(seconds: str) -> list[str]:
    dog = str(Dog.create_id("Fido"))
    command = ["debugprojection", "TrainingSchoolProjection", "--aggregate", dog]
    return [*command, "--timeout", seconds]


def is_untouched(project: Project) -> bool:
    return project.position() is None and not project.query(
        "SELECT * FROM training_school_dog"
    )


@pytest.mark.any_database
def test_an_event_that_hangs_ends_the_process_and_leaves_nothing(
    hanging: Project,
) -> None:
    ended = hanging.manage(*arguments("1"), check=False)

    assert ended.returncode == 5
    assert "Dog.Registered" in ended.stdout
    assert ended.stderr.strip() == (
        "Projection 'TrainingSchoolProjection': an event hangs; what it did is undone, "
        "and the process ends"
    )
    assert is_untouched(hanging)


def test_a_process_that_is_killed_leaves_nothing(
    hanging: Project, project: Project
) -> None:
    with hanging.running(*arguments("300")) as process:
        assert process.stdout is not None
        while "in the handler" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert is_untouched(project)
    # Nothing is locked, either.
    project.manage("runprojections", "--until-caught-up")
    assert len(project.query("SELECT * FROM training_school_dog")) == 1
