"""What is said of an event store that is not there, and waiting for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from eventsourcing.persistence import OperationalError, ProgrammingError

from django_esdb import get_application
from django_esdb.applications.store_address import store_hint
from django_esdb.registry import Registration
from django_esdb.runner import Supervisor
from eventsourcing_eventstoredb import store_deadline
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from tests.support.school import AwaySchool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

AWAY = OperationalError("it is away")
RUNNING = ". Is it running? manage.py runeventstore starts the embedded one."


@pytest.mark.parametrize(
    ("esdb_env", "variables", "where"),
    [
        ({}, {}, "h:1, from the setting ESDB_URI"),
        ({"EVENTSTOREDB_URI": "esdb://e:2?Tls=false"}, {}, "e:2, from ESDB_ENV["),
        (
            {},
            {"TRAININGSCHOOL_EVENTSTOREDB_URI": "esdb://v:3?Tls=false"},
            "v:3, from the environment variable TRAININGSCHOOL_EVENTSTOREDB_URI",
        ),
    ],
)
def test_the_address_is_said_and_where_it_stands(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    esdb_env: dict[str, str],
    variables: dict[str, str],
    where: str,
) -> None:
    settings.ESDB_URI = "esdb://u:s3cret@h:1?Tls=false"
    settings.ESDB_ENV = esdb_env
    for name, value in variables.items():
        monkeypatch.setitem(os.environ, name, value)

    hint = store_hint(TrainingSchool, AWAY)

    assert where in hint
    assert RUNNING in hint
    assert "Tls=false is wrong" in hint
    assert "s3cret" not in hint


def test_a_refused_certificate_has_the_address_and_no_other_advice(
    settings: Any,
) -> None:
    settings.ESDB_URI = "esdb://u:p@h:1"

    error = ProgrammingError("the server's certificate was not accepted")

    assert store_hint(TrainingSchool, error) == (
        "; the event store's address is h:1, from the setting ESDB_URI"
    )


@pytest.mark.parametrize("error", [ValueError("x"), ProgrammingError("no stream")])
def test_nothing_is_said_of_other_errors(error: Exception) -> None:
    assert store_hint(TrainingSchool, error) == ""


def test_an_application_says_which_store_does_not_answer(settings: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings.ESDB_URI = f"esdb://u:s3cret@{address}?Tls=false"
        school = get_application(TrainingSchool)
        for call in (
            lambda: school.register("Fido"),
            lambda: school.repository.get(uuid4()),
            lambda: school.notification_log.select(1, 1),
        ):
            with store_deadline(1), pytest.raises(OperationalError) as raised:
                call()

            text = str(raised.value)
            assert text.count(f"{address}, from the setting ESDB_URI{RUNNING}") == 1
            assert "s3cret" not in text


def test_the_command_says_which_store_does_not_answer(settings: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        settings.ESDB_URI = f"esdb://127.0.0.1:{port}?Tls=false"
        with pytest.raises(CommandError) as raised:
            call_command("runprojections", "--wait=0")

    assert f"127.0.0.1:{port}, from the setting ESDB_URI{RUNNING}" in str(raised.value)


def test_a_store_that_comes_late_is_waited_for(
    registration: Callable[..., Registration],
    settings: Any,
    server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("django_esdb.runner.decisions.FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(AwaySchool, "failures", 2)
    settings.ESDB_URI = server.uri
    waiting = registration(application_class=AwaySchool)
    supervisor = Supervisor(waiting, until_caught_up=True, wait=60)

    supervisor.run()

    assert AwaySchool.failures == 0
    assert waiting.tracked().row().owner == ""


@pytest.mark.parametrize(
    "command",
    ["acceptprojection", "resetprojection", "retryfailedevents", "runprojections"],
)
def test_a_traceback_has_the_cause_of_a_command_s_error(
    settings: Any, command: str
) -> None:
    settings.ESDB_URI = "esdb://127.0.0.1:9?Tls=false"

    with pytest.raises(CommandError) as raised:
        call_command(command, "Unknown", traceback=True)

    assert raised.value.__cause__ is not None
