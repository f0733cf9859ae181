from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command

from example_project.training_school.seeding import dog_name
from tests.support.event_stores import EventStore
from tests.support.projects import Project

pytestmark = pytest.mark.any_database

READ = """
import json
from django_esdb import get_application
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog, SchoolCounts
counts = SchoolCounts.objects.get()
dogs = {dog.name: dog.tricks for dog in Dog.objects.all()}
print(json.dumps([counts.dogs, counts.tricks, dogs]))
"""


def read(project: Project) -> tuple[int, int, dict[str, list[str]]]:
    project.manage("runprojections", "--until-caught-up")
    dogs, tricks, names = json.loads(project.python(READ))
    return dogs, tricks, names


def test_seeds_dogs_with_tricks_once(project: Project):
    arguments = ("seed_training_school", "--dogs", "3", "--tricks", "2")

    first = project.manage(*arguments)
    assert first.stdout == (
        "Registered 3 dogs and taught 6 tricks; "
        "0 dogs and 0 tricks were there already\n"
    )
    seeded = read(project)
    assert seeded[:2] == (3, 6)
    assert all(len(tricks) == 2 for tricks in seeded[2].values())

    second = project.manage(*arguments)
    assert second.stdout == (
        "Registered 0 dogs and taught 0 tricks; "
        "3 dogs and 6 tricks were there already\n"
    )
    assert read(project) == seeded


def test_seeding_more_adds_what_is_missing(project: Project):
    project.manage("seed_training_school", "--dogs", "1", "--tricks", "1")
    project.python(
        "from django_esdb import get_application\n"
        "from example_project.training_school.application import TrainingSchool\n"
        f"get_application(TrainingSchool).add_trick({dog_name(0)!r}, 'sing')"
    )

    project.manage("seed_training_school", "--dogs", "2", "--tricks", "3")

    dogs, tricks, names = read(project)
    assert (dogs, tricks) == (2, 7)
    assert names[dog_name(0)][1] == "sing"
    assert len(set(names[dog_name(0)])) == 4


@pytest.mark.slow("writes and processes thousands of events")
def test_more_tricks_than_fit_in_one_append_are_seeded(project: Project):
    project.manage("seed_training_school", "--dogs", "1", "--tricks", "5500")

    assert project.manage(
        "seed_training_school", "--dogs", "1", "--tricks", "5500"
    ).stdout.startswith("Registered 0 dogs and taught 0 tricks;")


@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_an_event_store_out_of_reach_is_one_line(
    project: Project, store: EventStore, ends: Callable[[EventStore], None]
):
    ends(store)

    result = project.manage("seed_training_school", check=False)

    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("CommandError: Reading stream")


@pytest.mark.parametrize("count", ["-1", "many", "1.5"])
def test_a_count_that_is_none_is_refused(count: str):
    with pytest.raises(CommandError, match=f"'{count}' is not a whole number from 0"):
        call_command("seed_training_school", f"--dogs={count}")


def test_names_differ():
    names = [dog_name(number) for number in range(2000)]

    assert len(set(names)) == len(names)
    assert names[0].isalpha()
