"""Applications that are made plainly, in a process with Django's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactoryError
from eventsourcing.popo import POPOApplicationRecorder
from eventsourcing.utils import Environment

from django_esdb import get_application
from django_esdb.applications.shared import close_applications
from django_esdb.conf import application_environment
from django_esdb.exceptions import ConfigurationError
from eventsourcing_eventstoredb.recorders.application import (
    EventStoreDBApplicationRecorder,
)
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from tests.support.databases import SQLITE_URL
from tests.support.projects import ROOT, Project, example_on

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


@pytest.mark.parametrize("prefix", ["", "TRAININGSCHOOL_"])
@pytest.mark.parametrize(
    "key", ["PERSISTENCE_MODULE", "INFRASTRUCTURE_FACTORY", "EVENTSTOREDB_URI"]
)
def test_empty_texts_choose_no_memory(
    server: EmbeddedServer,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
    key: str,
) -> None:
    """As a container's variables are where they were not set."""
    settings.ESDB_URI = server.uri
    empty = {prefix + key: ""}

    class OfClass(TrainingSchool):
        name = TrainingSchool.name
        env = empty

    assert recorder_of(OfClass()) is EventStoreDBApplicationRecorder
    assert recorder_of(TrainingSchool(empty)) is EventStoreDBApplicationRecorder
    settings.ESDB_ENV = empty
    assert recorder_of(TrainingSchool()) is EventStoreDBApplicationRecorder
    settings.ESDB_ENV = {}
    monkeypatch.setenv(prefix + key, "")
    assert recorder_of(TrainingSchool()) is EventStoreDBApplicationRecorder
    made = get_application(TrainingSchool)
    assert isinstance(made.recorder, EventStoreDBApplicationRecorder)
    address = application_environment(TrainingSchool).get("EVENTSTOREDB_URI")
    assert address == server.uri


def test_empty_variable_leaves_what_the_class_says(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ESDB_URI = "esdb://localhost:1?Tls=false"
    monkeypatch.setenv("PERSISTENCE_MODULE", "")
    assert recorder_of(InMemory()) is POPOApplicationRecorder


def test_class_that_takes_no_settings_is_refused(settings: Any) -> None:
    class Deaf(Application[UUID]):
        def construct_env(self, name: str, env: Any = None) -> Environment:
            return Environment(name, env)

    settings.ESDB_URI = "esdb://localhost:1?Tls=false"
    with pytest.raises(ConfigurationError, match="keep its events in memory"):
        Deaf()
    assert recorder_of(Deaf({"PERSISTENCE_MODULE": POPO})) is POPOApplicationRecorder


@pytest.mark.parametrize(
    ("env", "is_refused"), [({}, True), ({"PERSISTENCE_MODULE": POPO}, False)]
)
def test_one_that_is_made_before_the_settings_are_known_is_refused(
    env: dict[str, str], is_refused: bool
) -> None:
    code = (
        "from eventsourcing.application import Application\n"
        "class Early(Application):\n"
        "    pass\n"
        f"early = Early({env})\n"
        "import django\n"
        "from django.core.exceptions import ImproperlyConfigured\n"
        "try:\n"
        "    django.setup()\n"
        "except ImproperlyConfigured as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=example_on(SQLITE_URL, "esdb://localhost:1?Tls=false").env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith("Early would keep its events in memory") == (
        is_refused
    )


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


@pytest.mark.any_database
def test_script_records_in_the_event_store(project: Project) -> None:
    project.python(
        "from example_project.training_school.application import TrainingSchool\n"
        "TrainingSchool().register('Fido')\n"
    )

    uri = {"EVENTSTOREDB_URI": project.env["EVENTSTOREDB_URI"]}
    with closing(TrainingSchool(uri)) as school:
        assert school.get_dog_details("Fido")["name"] == "Fido"
