"""Who sees stored events, and what of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.test import Client

from eventsourcing_eventstoredb import event_metadata
from eventsourcing_eventstoredb.metadata import CORRELATION_ID
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from tests.support.running_stores import own_stream
from tests.support.stored_event_pages import CAUSE, EVENT, LIST, cells, link

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


def test_who_may_not_view_events_sees_none(
    school: TrainingSchool, login: Callable[..., Client]
) -> None:
    position = school.register("Fido")
    client = login("view_payload", "view_dog")
    for page in (LIST, f"{EVENT}?application=TrainingSchool&position={position}"):
        assert client.get(page).status_code == 403
    assert client.get(CAUSE).status_code == 403
    assert LIST not in client.get("/admin/").text
    client.logout()
    assert client.get(LIST).status_code == 302


def test_events_are_seen_without_what_they_say(
    school: TrainingSchool, viewer: Client, server: EmbeddedServer
) -> None:
    with event_metadata({CORRELATION_ID: "the-order", "user": "tester-7"}):
        position = school.register("Fido Doe")

    assert LIST in viewer.get("/admin/").text
    listed = viewer.get(LIST)
    assert listed.status_code == 200
    (row,) = cells(listed.text)
    time, *rest = row
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} UTC", time)
    stream = own_stream(server, str(Dog.create_id("Fido Doe")))
    assert rest == ["Dog.Registered", str(position), stream, "0", "event"]
    shown = viewer.get(link(listed.text, str(position)))
    assert shown.status_code == 200
    assert stream in shown.text
    assert "You may not see what it says" in shown.text
    for text in (listed.text, shown.text):
        assert "Fido Doe" not in text
        assert "the-order" not in text
        assert "tester-7" not in text
    query = f"?application=TrainingSchool&position={position}"
    assert viewer.get(CAUSE + query).status_code == 403


@pytest.mark.parametrize("kind", ["reader", "superuser"])
def test_what_an_event_says_is_shown_with_the_permission(
    school: TrainingSchool, request: pytest.FixtureRequest, kind: str
) -> None:
    client = request.getfixturevalue("reader" if kind == "reader" else "admin_client")
    with event_metadata({CORRELATION_ID: "the-order", "user": "tester-7"}):
        position = school.register("Fido Doe")

    shown = client.get(f"{EVENT}?application=TrainingSchool&position={position}")

    text = unescape(shown.text)
    assert '\n  "name": "Fido Doe"' in text
    assert "tester-7" in text
    page = link(shown.text, "the-order")
    assert page.endswith("application=TrainingSchool&stream=%24bc-the-order")
    assert client.get(page).status_code == 200


def test_nothing_can_be_changed(school: TrainingSchool, admin_client: Client) -> None:
    school.register("Fido")
    assert admin_client.post(LIST).status_code == 405
    assert admin_client.post(EVENT).status_code == 405
    for page in ("add/", "1/change/", "1/delete/"):
        assert admin_client.get(f"{LIST}{page}").status_code == 404
    text = admin_client.get(LIST).text
    main = text.partition('<div id="content"')[2]
    assert 'method="post"' not in main
    assert not re.search(r"<script(?![^>]*src=)|<style|style=|onclick=", main)
