"""The topic allowlist in processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school import domain
from tests.support.projects import Project

pytestmark = pytest.mark.any_database

DOMAIN = domain.__name__


def test_runprojections_refuses_a_malformed_list(
    project: Project, server: EmbeddedServer
) -> None:
    project.env["DJANGO_SETTINGS_MODULE"] = "tests.support.apps.settings"
    project.env["TEST_TOPIC_ALLOWLIST"] = "a b"

    result = project.manage("runprojections", check=False)

    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "(django_esdb.E010)" in result.stderr


def test_a_process_does_not_import_what_is_not_allowed(
    project: Project, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "hostile.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    project.env.update(
        DJANGO_SETTINGS_MODULE="tests.support.apps.settings",
        TEST_APPS="everything",
        TEST_PATH=str(tmp_path),
    )
    project.python(
        "from uuid import uuid4\n"
        "from eventsourcing.persistence import StoredEvent\n"
        "from django_esdb import get_application\n"
        "from example_project.training_school.application import TrainingSchool\n"
        "recorder = get_application(TrainingSchool).recorder\n"
        "recorder.insert_events([StoredEvent(uuid4(), 0, 'hostile:Event', b'{}')])\n"
    )

    def run() -> str:
        result = project.manage(
            "runprojections", "EverythingProjection", "--until-caught-up", check=False
        )
        assert result.returncode == 1
        return result.stderr

    project.env["TEST_TOPIC_ALLOWLIST"] = DOMAIN
    assert "ESDB_TOPIC_ALLOWLIST" in run()
    assert not mark.exists()
    del project.env["TEST_TOPIC_ALLOWLIST"]
    assert "ESDB_TOPIC_ALLOWLIST" in run()
    assert not mark.exists()
    project.env["TEST_TOPIC_ALLOWLIST"] = "@anywhere"
    run()
    assert mark.exists()
