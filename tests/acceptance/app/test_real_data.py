"""Events that another package wrote to a real EventStoreDB become rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.projects import Project
from tests.support.recorded_files import own_copy

DATA = Path(__file__).resolve().parents[2] / "data"

READ = """
import json
from django_esdb import get_application
from example_project.training_school.application import TrainingSchool
school = get_application(TrainingSchool)
print(json.dumps({name: school.get_dog_details(name) for name in NAMES}))
"""
ROWS = """
import json
from django_esdb.models import ProjectionTracking
from example_project.training_school.models import Dog, SchoolCounts
print(json.dumps({
    "dogs": {dog.name: dog.tricks for dog in Dog.objects.all()},
    "counts": list(SchoolCounts.objects.values_list("dogs", "tricks")),
    "positions": list(ProjectionTracking.objects.values_list("position", flat=True)),
}))
"""


def rows(project: Project) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(project.python(ROWS))
    return result


def expected(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((DATA / f"{name}_expected.json").read_text())
    return result


@pytest.mark.slow("starts seven processes, one after the other")
@pytest.mark.parametrize(
    ("name", "environment", "count"),
    [
        ("training_school", {"IS_SNAPSHOTTING_ENABLED": "yes"}, 25),
        ("training_school_zlib", {"COMPRESSOR_TOPIC": "zlib"}, 5),
    ],
)
def test_recorded_events_are_read_and_projected(
    project: Project,
    server: EmbeddedServer,
    tmp_path: Path,
    name: str,
    environment: dict[str, str],
    count: int,
) -> None:
    file = own_copy(server, DATA / f"{name}.jsonl", tmp_path)
    project.env.update(environment)
    dogs = expected(name)
    assert len(dogs) == count
    project.manage("load_events", str(file))

    read = project.python(READ.replace("NAMES", repr(list(dogs))))
    assert json.loads(read) == dogs

    project.manage("runprojections", "--until-caught-up")
    projected = rows(project)
    assert projected["dogs"] == {name: dog["tricks"] for name, dog in dogs.items()}
    tricks = sum(len(dog["tricks"]) for dog in dogs.values())
    assert projected["counts"] == [[count, tricks]]

    project.manage("load_events", str(file))
    project.manage("runprojections", "--until-caught-up")
    assert rows(project) == projected


@pytest.mark.slow("starts six processes, one after the other")
def test_projection_stops_at_what_its_application_cannot_decode(
    project: Project, server: EmbeddedServer, tmp_path: Path
) -> None:
    dogs = expected("training_school")
    for name in ("training_school", "training_school_zlib"):
        file = own_copy(server, DATA / f"{name}.jsonl", tmp_path)
        project.manage("load_events", str(file))
    first = json.loads((DATA / "training_school_zlib.jsonl").read_text().split("\n")[0])

    for _ in range(2):
        result = project.manage("runprojections", "--until-caught-up", check=False)

        assert result.returncode == 1
        assert result.stderr.count("\n") == 1
        assert "Traceback" not in result.stderr
        assert f"topic {first['type']!r}" in result.stderr
        assert f"stream {first['stream']!r}" in result.stderr
        assert f"version {first['revision']}, position " in result.stderr
        projected = rows(project)
        assert projected["dogs"] == {n: dog["tricks"] for n, dog in dogs.items()}
