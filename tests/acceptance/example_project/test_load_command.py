from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from eventsourcing_eventstoredb.server import EmbeddedServer
from tests.support.client_library import (
    EventStoreDBClient,
    NewEvent,
    StreamState,
)
from tests.support.event_stores import EventStore
from tests.support.projects import ROOT, Project
from tests.support.recorded_files import own_copy
from tests.support.running_stores import own_stream

pytestmark = pytest.mark.any_database

SCHOOL = ROOT / "tests" / "data" / "training_school.jsonl"
EXPECTED = ROOT / "tests" / "data" / "training_school_expected.json"


def recorded(server: EmbeddedServer) -> list[tuple[Any, ...]]:
    """Return what is in the test's streams, which are named without its prefix."""
    own = own_stream(server, "")
    with EventStoreDBClient(server.uri) as client:
        return [
            (
                event.stream_name.replace(own, "", 1),
                event.stream_position,
                str(event.id),
                event.type,
                event.content_type,
                event.data,
                event.metadata,
            )
            # Else all that others have written would be read by each test.
            for event in client.read_all(
                filter_include=[f".*{re.escape(own)}.*"] if own else (),
                filter_by_stream_name=True,
            )
        ]


def write(file: Path, *lines: dict[str, Any] | str) -> None:
    file.write_text(
        "".join(
            (line if isinstance(line, str) else json.dumps(line)) + "\n"
            for line in lines
        )
    )


def an_event(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "stream": "s",
        "revision": number,
        "id": f"00000000-0000-4000-8000-{number:012}",
        "type": "T",
        "content_type": "application/json",
        "data": "e30=",
        "metadata": "",
        **fields,
    }


def test_a_file_is_loaded_as_it_was_recorded(
    project: Project, server: EmbeddedServer, tmp_path: Path
):
    result = project.manage("load_events", str(own_copy(server, SCHOOL, tmp_path)))

    # Before that it may say how far it is.
    assert "Loaded 333 events of 30 streams;" in result.stdout
    lines = [json.loads(line) for line in SCHOOL.read_text().splitlines()]
    events = recorded(server)
    assert [event[2] for event in events] == [line["id"] for line in lines]
    assert [event[:2] for event in events] == [
        (line["stream"], line["revision"]) for line in lines
    ]


def test_what_was_loaded_can_be_projected_and_read(
    project: Project, server: EmbeddedServer, tmp_path: Path
):
    project.manage("load_events", str(own_copy(server, SCHOOL, tmp_path)))
    project.manage("runprojections", "--until-caught-up")

    output = project.python(
        "import json\n"
        "from example_project.training_school.models import Dog\n"
        "print(json.dumps({dog.name: dog.tricks for dog in Dog.objects.all()}))"
    )

    expected = json.loads(EXPECTED.read_text())
    assert json.loads(output) == {
        name: details["tricks"] for name, details in expected.items()
    }


def test_loading_again_changes_nothing(site_store: EmbeddedServer, tmp_path: Path):
    file = own_copy(site_store, SCHOOL, tmp_path)
    call_command("load_events", str(file))
    events = recorded(site_store)

    call_command("load_events", str(file))

    assert recorded(site_store) == events


def test_it_shows_how_far_it_is(
    site_store: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_esdb.management.progress._SECONDS", 0)
    file = own_copy(site_store, SCHOOL, tmp_path)
    count = len(file.read_text().splitlines())

    said = [io.StringIO(), io.StringIO()]
    call_command("load_events", str(file), stdout=said[0])
    call_command("load_events", str(file), "--no-progress", stdout=said[1])

    lines = said[0].getvalue().splitlines()
    assert any(line.startswith(f"Loading: {count} events, 100%") for line in lines)
    assert "Loading" not in said[1].getvalue()


def test_a_file_that_has_grown_is_loaded_on(site_store: EmbeddedServer, tmp_path: Path):
    file = tmp_path / "events.jsonl"
    events = [an_event(n, stream=own_stream(site_store, "s")) for n in range(4)]
    write(file, *events[:2])
    call_command("load_events", str(file))
    write(file, *events[:3], "", events[3])

    call_command("load_events", str(file))

    assert [event[1] for event in recorded(site_store)] == [0, 1, 2, 3]


def test_events_too_large_for_one_append_are_loaded_in_several(
    site_store: EmbeddedServer, tmp_path: Path
):
    file = tmp_path / "events.jsonl"
    stream = own_stream(site_store, "s")
    write(file, *(an_event(n, stream=stream, data="QUJD" * 100_000) for n in range(7)))

    call_command("load_events", str(file))

    assert [event[1] for event in recorded(site_store)] == list(range(7))


def test_a_conflict_is_one_line_that_names_the_line(
    project: Project, server: EmbeddedServer, tmp_path: Path
):
    file = tmp_path / "events.jsonl"
    stream = own_stream(server, "s")
    write(file, an_event(0, stream=stream), an_event(1, stream=stream))
    with EventStoreDBClient(server.uri) as client:
        client.append_events(
            stream,
            current_version=StreamState.NO_STREAM,
            events=[NewEvent("Other", b"{}")],
        )

    result = project.manage("load_events", str(file), check=False)

    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"{file}, line 1: the event store has no place for revision 0" in line
    assert len(recorded(server)) == 1


def test_revisions_that_begin_too_late_are_a_conflict(
    site_store: EmbeddedServer, tmp_path: Path
):
    file = tmp_path / "events.jsonl"
    write(file, an_event(5, stream=own_stream(site_store, "s")))

    with pytest.raises(CommandError) as error:
        call_command("load_events", str(file))

    assert error.value.returncode == 1
    assert f"{file}, line 1: the event store has no place" in str(error.value)
    assert recorded(site_store) == []


def missing(name: str) -> dict[str, Any]:
    event = an_event(1)
    del event[name]
    return event


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "this is not JSON"),
        ("[" * 100_000, "this is not JSON"),
        ("[]", "a JSON object is needed, not list"),
        *(
            (missing(name), f"the field {name!r} is missing")
            for name in (
                "stream",
                "revision",
                "id",
                "type",
                "content_type",
                "data",
                "metadata",
            )
        ),
        (an_event(1, data="e30"), "data must be base64, but is 'e30'"),
        (an_event(1, data="é"), "data must be base64, but is '\\xe9'"),
        (an_event(1, metadata=None), "metadata must be base64, but is None"),
        (an_event(1, id="x"), "id must be a UUID, but is 'x'"),
        (an_event(1, id=7), "id must be a text that is not empty, but is 7"),
        (an_event(1, id=an_event(0)["id"]), "is that of line 1 too"),
        (an_event(1, type=""), "type must be a text that is not empty, but is ''"),
        (an_event(1, type="\ud800"), "type has half of a surrogate pair in it"),
        (an_event(1, content_type="text"), "content_type is 'text', but must be"),
        (an_event(-1), "revision must be a whole number from 0 on, but is -1"),
        (an_event(1, revision=True), "revision must be a whole number"),
        (an_event(2), "the last one of stream 's' was 0, so it must be 1"),
        (an_event(1, revision=0), "the last one of stream 's' was 0, so it must be 1"),
    ],
)
def test_a_wrong_line_is_named_before_anything_is_written(
    site_store: EmbeddedServer, tmp_path: Path, line: dict[str, Any] | str, problem: str
):
    file = tmp_path / "events.jsonl"
    write(file, an_event(0), line)

    with pytest.raises(CommandError) as error:
        call_command("load_events", str(file))

    assert error.value.returncode == 1
    assert str(error.value).startswith(f"{file}, line 2: ")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)
    assert recorded(site_store) == []


def test_a_wrong_line_is_one_line_of_output(project: Project, tmp_path: Path):
    file = tmp_path / "events.jsonl"
    shutil.copy(SCHOOL, file)
    with file.open("ab") as stream:
        stream.write(b"\xff\n")

    result = project.manage("load_events", str(file), check=False)

    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == f"CommandError: {file}, line 334: this is not JSON\n"


def test_a_file_that_is_not_there_is_one_line(project: Project, tmp_path: Path):
    file = tmp_path / "nowhere.jsonl"

    result = project.manage("load_events", str(file), check=False)

    assert result.returncode == 1
    assert result.stderr == (
        f"CommandError: Cannot read {file}: No such file or directory\n"
    )


@pytest.mark.parametrize("ends", [EventStore.stop, EventStore.kill])
def test_an_event_store_out_of_reach_is_one_line(
    project: Project, store: EventStore, ends: Callable[[EventStore], None]
):
    ends(store)

    result = project.manage("load_events", str(SCHOOL), check=False)

    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("CommandError: Appending 1 event to new stream")
