"""Which stored events are found, in which order."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from eventsourcing.utils import get_topic

from django_esdb.admin import stored_events
from django_esdb.applications.shared import close_applications, get_application
from django_esdb.models import StoredEvent
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from example_project.training_school.models import Dog as DogRow
from tests.support.running_stores import own_prefix, own_stream
from tests.support.stored_event_pages import (
    EVENT,
    LIST,
    TRICK_ADDED,
    cells,
    link,
    positions,
    said,
)
from tests.support.stores import append

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


def test_pages_follow_each_other_newest_first(
    school: TrainingSchool, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_events, "_PAGE_SIZE", 3)
    expected = [school.register("Fido")]
    expected += [school.add_trick("Fido", str(number)) for number in range(6)]
    other = school.register("Rex")

    for start, wanted in (
        (LIST, [*expected, other]),
        (f"{LIST}?stream={Dog.create_id('Fido')}", expected),
    ):
        text, found = viewer.get(start).text, []
        assert ">Newest<" not in text
        while ">Older<" in text:
            assert len(positions(text)) == 3
            found += positions(text)
            text = viewer.get(LIST + link(text, "Older")).text
        found += positions(text)
        assert found == wanted[::-1]
        newest = viewer.get(LIST + link(text, "Newest")).text
        assert positions(newest) == wanted[:-4:-1]


def test_events_are_found_by_what_is_asked_for(
    school: TrainingSchool, viewer: Client, server: EmbeddedServer
) -> None:
    registered = school.register("Fido")
    added = school.add_trick("Fido", "sit")
    rex = school.register("Rex")
    fido = own_stream(server, str(Dog.create_id("Fido")))

    def found(**query: str) -> list[int]:
        response = viewer.get(LIST, query)
        assert response.status_code == 200
        return positions(response.text)

    assert found() == [rex, added, registered]
    assert found(stream=fido) == [added, registered]
    assert found(prefix=fido[:-28]) == [added, registered]
    assert found(topic=TRICK_ADDED) == [added]
    assert found(topic=TRICK_ADDED, stream=str(Dog.create_id("Rex"))) == []
    assert found(since="1h") == [rex, added, registered]
    assert found(since="2100-01-01") == []
    assert "There are no such events" in viewer.get(f"{LIST}?stream={uuid4()}").text
    # Of one stream: the latest of all may be others'.
    listed = viewer.get(LIST, {"stream": fido}).text
    page = link(listed, fido)
    assert positions(viewer.get(page).text) == [added, registered]
    page = link(listed, "Dog.TrickAdded")
    assert positions(viewer.get(page).text) == [added]


def test_a_search_that_looks_at_too_many_says_so(
    school: TrainingSchool, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_events, "_MOST_LOOKED_AT", 1)
    registered = school.register("Fido")
    for number in range(60):
        school.add_trick("Fido", str(number))
    query = {"topic": get_topic(Dog.Registered), "stream": Dog.create_id("Fido")}

    text = viewer.get(LIST, query).text

    assert "None of the events that were looked at matches" in text
    assert positions(viewer.get(LIST + link(text, "Older")).text) == [registered]


@pytest.mark.parametrize("name", ["topic", "prefix"])
def test_what_the_server_does_not_find_soon_is_looked_for_page_by_page(
    school: TrainingSchool,
    viewer: Client,
    server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    name: str,
) -> None:
    # A busy store may take longer than a page may.
    settings.ESDB_WEB_DEADLINE = 60
    monkeypatch.setattr(stored_events, "_PICKING_SECONDS", 1e-9)
    monkeypatch.setattr(stored_events, "_MOST_LOOKED_AT", 1)
    registered = school.register("Rex")
    school.register("Fido")
    for number in range(60):
        school.add_trick("Fido", str(number))
    rex = own_stream(server, str(Dog.create_id("Rex")))
    query = {"topic": get_topic(Dog.Registered)} if name == "topic" else {name: rex}

    text, found = viewer.get(LIST, query).text, []
    assert "None of the events that were looked at matches" in text
    while ">Older<" in text:
        found += positions(text)
        text = viewer.get(LIST + link(text, "Older")).text

    assert (found + positions(text))[-1] == registered


@pytest.mark.own_store("it writes a stream of snapshots, whose name is no test's own")
def test_snapshots_are_told_apart(
    school: TrainingSchool, viewer: Client, server: EmbeddedServer
) -> None:
    stream = f"snapshot-${Dog.create_id('Fido')}"
    append(server, stream, "school:Snapshot")

    (row,) = cells(viewer.get(LIST).text)

    assert row[3:] == [stream, "0", "snapshot"]
    assert cells(viewer.get(LIST, {"stream": stream}).text) == [row]


def test_an_application_with_a_prefix_shows_its_own_streams(
    server: EmbeddedServer, settings: Any, login: Callable[..., Client]
) -> None:
    settings.ESDB_URI = server.uri
    prefix = own_prefix(server, "school")
    settings.ESDB_ENV = {"EVENTSTOREDB_STREAM_PREFIX": prefix}
    client = login("view_storedevent", "view_payload", "view_dog")
    other = append(server, "other-x", "X", b'{"name": "s3cret"}')
    append(server, "snapshot-$other-x", "X")
    try:
        position = get_application(TrainingSchool).register("Fido")
        fido = Dog.create_id("Fido")
        row = DogRow.objects.create(id=fido, name="Fido", tricks=[])

        for query in ("", f"?stream={fido}", f"?stream={prefix}-{fido}"):
            listed = client.get(f"{LIST}{query}")
            assert [row[2:4] for row in cells(listed.text)] == [
                [str(position), f"{prefix}-{fido}"]
            ]
        form = reverse("admin:training_school_dog_change", args=[row.pk])
        assert link(listed.text, "dog: Fido") == form
        for page in (
            f"{LIST}?stream=snapshot-$other-x",
            f"{EVENT}?application=TrainingSchool&position={other}",
        ):
            response = client.get(page)
            assert said(response) == "This is no stream of the application."
            assert "s3cret" not in response.text
    finally:
        close_applications()


def test_no_database_is_asked_for_them(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert not StoredEvent.objects.exists()
        assert list(StoredEvent._base_manager.iterator()) == []
    # It asks models without a table, too.
    call_command("dumpdata", "django_esdb", "--all", stdout=io.StringIO())
