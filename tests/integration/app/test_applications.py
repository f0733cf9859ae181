"""Settings and checks next to servers and databases."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks

from django_esdb import get_application
from django_esdb.applications import close_applications
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool


@pytest.mark.django_db
def test_checks_run_with_djangos(settings: Any) -> None:
    assert "django_esdb.E001" in [message.id for message in run_checks()]


def test_applications_are_made_once_and_again_after_a_change(
    server: EmbeddedServer, settings: Any
) -> None:
    settings.ESDB_URI = server.uri
    first = get_application(TrainingSchool)
    first.register("Fido")
    assert get_application(TrainingSchool) is first
    with EmbeddedServer() as other:
        settings.ESDB_URI = other.uri
        second = get_application(TrainingSchool)
        assert second is not first
        assert second.recorder.max_notification_id() is None
        close_applications()
