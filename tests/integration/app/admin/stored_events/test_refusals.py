"""What is said where there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from django_esdb.admin import event_reading
from django_esdb.applications.shared import close_applications
from django_esdb.registry import registry
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from tests.support.event_stores import EventStore
from tests.support.stored_event_pages import CAUSE, EVENT, LIST, cells, positions, said
from tests.support.stores import append

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


def test_what_cannot_be_read_says_why(
    school: TrainingSchool, server: EmbeddedServer, reader: Client
) -> None:
    append(server, "x", "X", b"\x00\xff")
    position = positions(reader.get(LIST).text)[0]

    shown = reader.get(f"{EVENT}?application=TrainingSchool&position={position}")

    assert "It cannot be read: UnicodeDecodeError" in shown.text
    assert "2 bytes" in shown.text


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("since=yesterday", "This is no time, such as 2026-11-26T09:30"),
        ("before=x", "Enter a whole number."),
        ("before=99999999999999999999", "less than or equal to"),
        ("before=-1", "greater than or equal to 0"),
        ("application=Nope", "Select a valid choice."),
        ("stream=x&prefix=y", "not both."),
        ("stream=%24users", "own streams are not shown"),
        ("stream=%24user-admin", "own streams are not shown"),
        ("topic=a%00b", "Null characters are not allowed."),
    ],
)
def test_what_makes_no_sense_gets_a_line(
    school: TrainingSchool, viewer: Client, query: str, line: str
) -> None:
    school.register("Fido")

    response = viewer.get(f"{LIST}?{query}")

    assert response.status_code == 200
    assert line in response.text
    assert not cells(response.text)


def test_where_no_event_is_that_is_said(school: TrainingSchool, viewer: Client) -> None:
    position = school.register("Fido")
    name = "application=TrainingSchool"
    for query in (f"{name}&position=x", name, f"{name}&position={10**18}"):
        line = said(viewer.get(f"{EVENT}?{query}"))
        assert line == "There is no event at this position."
    for page in (
        f"{EVENT}?{name}&position={position + 1}",
        f"{EVENT}?{name}&position={2**63}",
    ):
        assert said(viewer.get(page)) == "There is no event at this position."
    gone = viewer.get(f"{EVENT}?application=Nope&position={position}")
    assert said(gone) == "There is no such application."


@pytest.mark.own_store("it writes into a stream of the server's own")
def test_what_eventstoredb_keeps_for_itself_is_not_shown(
    school: TrainingSchool, server: EmbeddedServer, reader: Client
) -> None:
    position = append(server, "$user-admin", "$User", b'{"hash": "s3cret"}')
    query = f"application=TrainingSchool&position={position}"

    response = reader.get(f"{EVENT}?{query}")

    assert said(response) == "This is no stream of the application."
    assert "s3cret" not in response.text


@pytest.mark.parametrize("end", [EventStore.kill, EventStore.freeze])
def test_a_store_that_is_away_gets_a_page_that_says_so(
    store: EventStore,
    school: TrainingSchool,
    reader: Client,
    end: Callable[[EventStore], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    position = school.register("Fido")
    event = f"{EVENT}?application=TrainingSchool&position={position}"
    assert reader.get(LIST).status_code == reader.get(event).status_code == 200

    end(store)
    monkeypatch.setattr(event_reading, "SECONDS", 0.5)

    for page in (LIST, event, event.replace(EVENT, CAUSE)):
        response = reader.get(page)
        assert response.status_code == 503
        assert said(response).startswith("The event store cannot be used now")
    close_applications()
    response = reader.get(LIST)
    assert response.status_code == 503
    assert "Traceback" not in response.text


def test_settings_that_cannot_be_used_get_a_line(settings: Any, viewer: Client) -> None:
    settings.ESDB_URI = "esdb://"

    response = viewer.get(LIST)

    assert response.status_code == 200
    assert said(response)


def test_without_projections_no_application_is_known(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_registry", {})

    response = viewer.get(LIST)

    assert response.status_code == 200
    assert not cells(response.text)
