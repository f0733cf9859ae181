"""Events of an attacker who can write to the store."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamState,
)
from tests.support.projects import Project
from tests.support.running_stores import own_stream

ANY = pytest.mark.any_database
REGISTERED = "example_project.training_school.domain:Dog.Registered"
HOSTILE = "\n2030-01-01 all is well\r\x1b[2J\x1b]0;title\x07\x00\u202e\u2066<b>%s{0}"


@pytest.fixture
def everything(project: Project) -> Project:
    """A project with projections that ask for events of every topic."""
    project.env["DJANGO_SETTINGS_MODULE"] = "tests.support.apps.settings"
    project.env["TEST_APPS"] = "everything"
    return project


def append(
    server: EmbeddedServer, topic: str, data: bytes = b"{}", stream: str | None = None
) -> int:
    with EventStoreDBClient(server.uri) as client:
        return client.append_events(
            own_stream(server, stream or str(uuid4())),
            current_version=StreamState.NO_STREAM,
            events=[NewEvent(topic, data)],
        )


def assert_stops_in_one_line(
    project: Project, projection: str, says: str, *, has_place: bool = False
) -> str:
    result = project.manage(
        "runprojections", projection, "--until-caught-up", check=False
    )
    *log, line = result.stderr.removesuffix("\n").split("\n")
    assert result.returncode == 1, result.stdout + result.stderr
    assert says in line
    # The log has said before where a handler failed.
    assert [each.partition("=")[0] for each in log[:1]] == (
        ["Event failed: projection"] if has_place else []
    )
    for each in (*log, line):
        assert each.isprintable(), ascii(each)
    assert len(line) < 2500
    assert len("".join(log)) < 7000
    return line


@pytest.mark.parametrize(
    "topic",
    # The first has all that a database might refuse in the text of an error.
    [
        HOSTILE,
        pytest.param(f"os:{HOSTILE}", marks=ANY),
        pytest.param("long" * 50_000, marks=ANY),
        *(pytest.param(one, marks=ANY) for one in ("..:", ":", "antigravity\n:x")),
    ],
    ids=["hostile", "hostile name", "long", "relative", "empty", "module"],
)
def test_a_hostile_topic_is_reported_in_one_line(
    everything: Project, server: EmbeddedServer, topic: str
) -> None:
    position = append(server, topic)

    line = assert_stops_in_one_line(
        everything, "EverythingProjection", "stopped at an event that it cannot decode"
    )

    assert f"position {position}" in line


@pytest.mark.parametrize(
    "data",
    [
        json.dumps({"_type_": HOSTILE, "_data_": 1}).encode(),
        *(
            pytest.param(one, marks=ANY)
            for one in (
                json.dumps([HOSTILE]).encode(),
                b"[" * 200_000,
                b"1" * 10_000,
                b'{"name": "\xff\xfe"}',
                b"{}\x1b\n\x00",
            )
        ),
    ],
    ids=["transcoding", "list", "nested", "number", "no UTF-8", "no JSON"],
)
def test_a_hostile_payload_is_reported_in_one_line(
    everything: Project, server: EmbeddedServer, data: bytes
) -> None:
    append(server, REGISTERED, data)

    assert_stops_in_one_line(
        everything, "EverythingProjection", "stopped at an event that it cannot decode"
    )


@pytest.mark.any_database
def test_an_error_that_repeats_a_payload_is_one_line(
    everything: Project, server: EmbeddedServer
) -> None:
    name = f"{HOSTILE}\ud83d" + "x" * 100_000
    append(server, REGISTERED, json.dumps({"name": name}).encode())

    line = assert_stops_in_one_line(
        everything,
        "RepeatingProjection",
        "stopped at an event that it failed to",
        has_place=True,
    )

    assert r"\x1b[2J" in line
    assert r"\u202e" in line


def test_a_stream_with_a_hostile_name_is_reported_in_one_line(
    everything: Project, server: EmbeddedServer
) -> None:
    everything.env["ORIGINATOR_ID_TYPE"] = "text"
    append(server, REGISTERED, b"no JSON", stream=f"dog{HOSTILE}")

    line = assert_stops_in_one_line(
        everything, "EverythingProjection", "stopped at an event that it cannot decode"
    )

    assert r"dog\n2030" in line


def test_text_that_no_page_can_show_becomes_a_row_that_can_be_shown(
    project: Project, server: EmbeddedServer
) -> None:
    stream = str(uuid4())
    payload = {
        "name": "Fido\0\ud83d<script>",
        "originator_topic": REGISTERED.removesuffix(".Registered"),
        "timestamp": {"_type_": "datetime_iso", "_data_": "2024-01-01T00:00:00+00:00"},
    }
    append(server, REGISTERED, json.dumps(payload).encode(), stream)

    project.manage("runprojections", "--until-caught-up")

    shown = project.python(
        "from django.test import Client\n"
        f"page = Client(SERVER_NAME='localhost').get('/dogs/{stream}/')\n"
        "print(page.status_code, ascii(page.content.decode()))\n"
    )
    assert shown.startswith("200 ")
    assert r"Fido\ufffd\ufffd&lt;script&gt;" in shown
    assert "<script" not in shown
