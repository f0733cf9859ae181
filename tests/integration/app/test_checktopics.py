"""What ``manage.py checktopics`` says of stored events."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate as UUIDAggregate
from eventsourcing.persistence import StoredEvent
from eventsourcing.utils import get_topic

from django_esdb.applications.shared import close_applications
from django_esdb.events import stored_topics
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from tests.support import shared_popo
from tests.support.event_stores import EventStore
from tests.support.stores import append

REGISTERED = get_topic(Dog.Registered)
TRICK_ADDED = get_topic(Dog.TrickAdded)
HERE = f"{__name__}"


class Renamed(UUIDAggregate):
    """Its events are allowed by a list that has this module."""

    INITIAL_VERSION = 0


class Note:
    """An event whose aggregate has a text as its ID."""

    originator_id: str
    originator_version: int


class Notes(Application[str]):
    pass


def check(*arguments: str) -> tuple[int, list[str]]:
    """Run the command; return its status and its lines."""
    out = io.StringIO()
    status: Any = 0
    try:
        call_command("checktopics", *arguments, stdout=out)
    except SystemExit as exit_:
        status = exit_.code
    return status, out.getvalue().splitlines()


def listed(*names: str) -> Any:
    return json.loads("\n".join(check(*names, "--json")[1]))


def test_counts_are_shown(school: TrainingSchool) -> None:
    for name in ("Fido", "Rex"):
        school.register(name)
        for trick in ("roll over", "play dead"):
            school.add_trick(name, trick)

    assert check() == (
        0,
        [
            "TrainingSchool: 6 events of 2 topics",
            f"         4  {TRICK_ADDED}",
            f"         2  {REGISTERED}",
        ],
    )
    assert check("TrainingSchool") == check()
    assert (
        check("example_project.training_school.application.TrainingSchool") == check()
    )
    assert check(get_topic(TrainingSchool)) == check()
    assert listed() == [
        {
            "application": "TrainingSchool",
            "events": 6,
            "topics": [
                {"topic": TRICK_ADDED, "count": 4, "problem": ""},
                {"topic": REGISTERED, "count": 2, "problem": ""},
            ],
            "passed_over": [],
            "uncounted": 0,
        }
    ]


@pytest.mark.usefixtures("school")
def test_a_store_without_events_passes() -> None:
    assert check() == (0, ["TrainingSchool: 0 events of 0 topics"])


def test_topics_of_which_no_event_can_be_made_are_told(
    school: TrainingSchool, server: EmbeddedServer
) -> None:
    school.register("Fido")
    for topic in ("gone_school:Dog.Registered", get_topic(Dog), f"{REGISTERED}.Gone"):
        append(server, str(uuid4()), topic)
    for _ in range(2):
        append(server, str(uuid4()), "eventsourcing.domain:Aggregate.Event")

    status, lines = check()

    assert status == 1
    assert lines == [
        "TrainingSchool: 6 events of 5 topics",
        "         2  eventsourcing.domain:Aggregate.Event: is not allowed",
        f"         1  {get_topic(Dog)}: is not allowed, since its class is no event or "
        "snapshot",
        f"         1  {REGISTERED}.Gone: does not resolve: TopicError: Failed to "
        f"resolve topic '{REGISTERED}.Gone': type object 'Registered' has no attribute "
        "'Gone'",
        "         1  gone_school:Dog.Registered: is not allowed (Failed to resolve "
        "topic: no module 'gone_school')",
        f"         1  {REGISTERED}",
    ]
    (found,) = listed()
    assert [bool(each["problem"]) for each in found["topics"]] == [True] * 4 + [False]


@pytest.mark.usefixtures("former_names", "school")
def test_an_alias_helps(server: EmbeddedServer, settings: Any) -> None:
    append(server, str(uuid4()), "old_school:Dog.Registered")
    assert check()[0] == 1

    settings.ESDB_TOPIC_ALIASES = {"old_school:Dog": get_topic(Dog)}

    assert check() == (
        0,
        ["TrainingSchool: 1 event of 1 topic", "         1  old_school:Dog.Registered"],
    )
    settings.ESDB_TOPIC_ALIASES = {}


@pytest.mark.own_store("a prefix makes each stream the application's")
def test_events_of_others_are_told_and_pass(
    school: TrainingSchool, server: EmbeddedServer
) -> None:
    school.register("Fido")
    append(server, "another-stream", "another:Event")
    append(server, "$system", "another:Event")
    append(server, "snapshot-$of-one", "another:Event")
    append(server, "another-stream", "$system")

    status, lines = check()

    assert status == 0
    assert lines[0] == "TrainingSchool: 1 event of 1 topic"
    assert lines[2].endswith("set ORIGINATOR_ID_TYPE=text:")
    assert lines[3:] == ["         1  another:Event"]


@pytest.mark.own_store("a prefix makes each stream the application's")
@pytest.mark.usefixtures("school")
@pytest.mark.parametrize("says", ["a class", "ORIGINATOR_ID_TYPE", "a prefix"])
def test_aggregates_with_texts_as_ids_miss_their_renamed_classes(
    server: EmbeddedServer, settings: Any, says: str
) -> None:
    prefix = "notes-" if says == "a prefix" else ""
    settings.ESDB_TOPIC_ALLOWLIST = [__name__]
    append(server, f"{prefix}note-2", f"{__name__}:Gone")
    if says == "a class":
        append(server, "note-1", f"{__name__}:Note")
    elif says == "a prefix":
        append(server, "note-1", "another:Event")
        settings.ESDB_ENV = {"NOTES_EVENTSTOREDB_STREAM_PREFIX": "notes"}
    else:
        settings.ESDB_ENV = {"NOTES_ORIGINATOR_ID_TYPE": "text"}

    (found,) = listed(get_topic(Notes))

    problems = [each["topic"] for each in found["topics"] if each["problem"]]
    assert problems == [f"{__name__}:Gone"]
    assert found["passed_over"] == []
    assert found["events"] == (2 if says == "a class" else 1)


@pytest.mark.usefixtures("school")
def test_hostile_topics_are_shown_in_a_line(server: EmbeddedServer) -> None:
    append(server, str(uuid4()), "evil\n\x1b[31m" + "x" * 3000)

    status, lines = check()

    assert status == 1
    assert len(lines) == 2
    assert "\x1b" not in lines[1]
    assert len(lines[1]) < 1000


@pytest.mark.usefixtures("school")
def test_there_may_be_more_topics_than_are_counted(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_topics, "MOST_TOPICS", 2)
    for topic in (REGISTERED, TRICK_ADDED, "one:More", "another:More", REGISTERED):
        append(server, str(uuid4()), topic)

    status, lines = check()

    assert status == 1
    assert lines[0] == "TrainingSchool: 5 events of 2 topics"
    assert lines[-1] == "2 events of still more topics"


@pytest.fixture(params=["popo", "sqlite"])
def other_store(
    request: pytest.FixtureRequest, settings: Any, tmp_path: Path
) -> Iterator[None]:
    """The school on another store, which outlives an application."""
    module = {
        "popo": {"PERSISTENCE_MODULE": "tests.support.shared_popo"},
        "sqlite": {
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": str(tmp_path / "events.sqlite3"),
        },
    }[request.param]
    settings.ESDB_ENV = {f"TRAININGSCHOOL_{key}": each for key, each in module.items()}
    yield
    close_applications()
    shared_popo.forget()


@pytest.mark.usefixtures("other_store")
def test_events_in_other_stores_are_read_page_by_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django_esdb import get_application

    monkeypatch.setattr(stored_topics, "_PAGE", 2)
    school = get_application(TrainingSchool)
    for number in range(5):
        school.register(f"dog {number}")
    school.recorder.insert_events([StoredEvent(uuid4(), 0, "gone:Event", b"{}")])

    status, lines = check()

    assert status == 1
    assert lines[0] == "TrainingSchool: 6 events of 2 topics"
    assert lines[2] == f"         5  {REGISTERED}"


def test_a_store_that_is_away_is_told(settings: Any, store: EventStore) -> None:
    settings.ESDB_URI = store.uri
    store.kill()

    with pytest.raises(CommandError) as raised:
        check()

    assert raised.value.returncode == 1
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("school")
@pytest.mark.parametrize("name", ["Nothing", "no.such:App", REGISTERED, "os:path", "."])
def test_an_application_that_is_none_is_told(name: str) -> None:
    with pytest.raises(CommandError, match="There is no application") as raised:
        check(name)
    assert raised.value.returncode == 2
    assert "TrainingSchool" in str(raised.value)


def test_what_is_not_configured_is_told(settings: Any) -> None:
    settings.ESDB_URI = None

    with pytest.raises(CommandError, match="address of the event store") as raised:
        check()
    assert raised.value.returncode == 2


def test_events_are_not_kept(settings: Any, store: EventStore) -> None:
    settings.ESDB_URI = store.uri
    number, size = 256, 512 * 1024
    with closing(TrainingSchool()) as school:
        for _ in range(number):
            stored = StoredEvent(uuid4(), 0, REGISTERED, b"x" * size)
            school.recorder.insert_events([stored])

    tracemalloc.start()
    try:
        status, lines = check()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (status, lines[0]) == (0, "TrainingSchool: 256 events of 1 topic")
    # What is read ahead, and what was taken of it.
    assert peak < number * size / 2
