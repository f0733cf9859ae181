"""Applications that are made plainly, in a process with Django's settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactoryError
from eventsourcing.popo import POPOApplicationRecorder

from django_esdb import get_application
from django_esdb.applications.shared import close_applications
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from tests.support.projects import Project

POPO = "eventsourcing.popo"


class InMemory(Application[UUID]):
    env = {"PERSISTENCE_MODULE": POPO}


class OnEventStoreDB(Application[UUID]):
    env = {"PERSISTENCE_MODULE": "eventsourcing_eventstoredb"}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_applications()


def recorder_of(application: Application[Any]) -> type:
    with closing(application):
        return type(application.recorder)


def test_plain_application_records_where_the_settings_say(
    server: EmbeddedServer, settings: Any
) -> None:
    settings.ESDB_URI = server.uri

    with closing(TrainingSchool()) as plain:
        plain.register("Fido")

    assert get_application(TrainingSchool).get_dog_details("Fido")["name"] == "Fido"


def test_settings_are_read_when_the_application_is_made(
    server: EmbeddedServer, settings: Any
) -> None:
    assert recorder_of(TrainingSchool()) is POPOApplicationRecorder
    settings.ESDB_URI = server.uri
    assert recorder_of(TrainingSchool()) is EventStoreDBApplicationRecorder
    settings.ESDB_URI = None
    assert recorder_of(TrainingSchool()) is POPOApplicationRecorder


def test_address_may_be_in_any_of_its_places(
    server: EmbeddedServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ESDB_ENV = {"TRAININGSCHOOL_EVENTSTOREDB_URI": server.uri}
    assert recorder_of(TrainingSchool()) is EventStoreDBApplicationRecorder
    settings.ESDB_ENV = {}
    given = {"EVENTSTOREDB_URI": server.uri}
    assert recorder_of(TrainingSchool(given)) is EventStoreDBApplicationRecorder
    monkeypatch.setenv("EVENTSTOREDB_URI", server.uri)
    assert recorder_of(TrainingSchool()) is EventStoreDBApplicationRecorder


def test_named_persistence_module_stays(
    server: EmbeddedServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ESDB_URI = server.uri
    for given in (
        {"PERSISTENCE_MODULE": POPO},
        {"TRAININGSCHOOL_PERSISTENCE_MODULE": POPO},
        {"INFRASTRUCTURE_FACTORY": f"{POPO}:POPOFactory"},
    ):
        assert recorder_of(TrainingSchool(given)) is POPOApplicationRecorder
    assert recorder_of(InMemory()) is POPOApplicationRecorder
    assert recorder_of(OnEventStoreDB()) is EventStoreDBApplicationRecorder
    monkeypatch.setenv("PERSISTENCE_MODULE", POPO)
    assert recorder_of(TrainingSchool()) is POPOApplicationRecorder


def test_address_that_cannot_be_used_is_an_error(settings: Any) -> None:
    settings.ESDB_URI = "http://localhost"

    with pytest.raises(InfrastructureFactoryError):
        TrainingSchool()


def test_no_setting_gets_into_environment_variables(
    server: EmbeddedServer, settings: Any
) -> None:
    settings.ESDB_URI = server.uri
    settings.ESDB_PASSWORD = "sesame"
    before = dict(os.environ)

    with closing(TrainingSchool()):
        assert dict(os.environ) == before


def test_script_records_in_the_event_store(project: Project) -> None:
    project.python(
        "from example_project.training_school.application import TrainingSchool\n"
        "TrainingSchool().register('Fido')\n"
    )

    uri = {"EVENTSTOREDB_URI": project.env["EVENTSTOREDB_URI"]}
    with closing(TrainingSchool(uri)) as school:
        assert school.get_dog_details("Fido")["name"] == "Fido"
