"""How events are shown, whatever text is in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from django_esdb.applications.shared import close_applications, get_application
from eventsourcing_eventstoredb import event_metadata
from eventsourcing_eventstoredb.metadata import CORRELATION_ID
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from example_project.training_school.models import Dog as DogRow
from tests.support.catalogs import texts_left_in_english
from tests.support.projects import ROOT
from tests.support.running_stores import own_stream
from tests.support.stored_event_pages import CAUSE, EVENT, HOSTILE, LIST, cells, link
from tests.support.stores import append

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


def test_stored_text_breaks_no_page(
    school: TrainingSchool, server: EmbeddedServer, reader: Client
) -> None:
    stream = f"x{HOSTILE}"
    append(server, stream, HOSTILE, b'["</pre><script>alert(1)"]')

    listed = reader.get(LIST)
    (row,) = cells(listed.text)
    shown = reader.get(f"{EVENT}?application=TrainingSchool&position={row[2]}")

    for response in (listed, shown):
        assert response.status_code == 200
        assert "<script>alert" not in response.text
        assert "&lt;script&gt;" in response.text
        assert "<bdi>" in response.text
    own = own_stream(server, "x")
    page = link(listed.text, re.findall(rf">(<bdi>{own}.*?</bdi>)<", listed.text)[0])
    assert cells(reader.get(page).text) == [row]


def test_how_events_are_stored_is_marked(
    server: EmbeddedServer, settings: Any, reader: Client
) -> None:
    settings.ESDB_URI = server.uri
    settings.ESDB_ENV = {
        "COMPRESSOR_TOPIC": "zlib",
        "CIPHER_TOPIC": "eventsourcing.cipher:AESCipher",
        "CIPHER_KEY": "MDEyMzQ1Njc4OTAxMjM0NQ==",
    }
    position = get_application(TrainingSchool).register("Fido")
    try:
        shown = reader.get(f"{EVENT}?application=TrainingSchool&position={position}")
    finally:
        close_applications()

    for mark in ("compressed", "encrypted"):
        assert f"<strong>{mark}</strong>" in shown.text
    assert "Fido" in shown.text


@pytest.mark.parametrize("language", ["de", "fr"])
def test_no_text_is_left_in_english(
    school: TrainingSchool,
    server: EmbeddedServer,
    login: Callable[..., Client],
    language: str,
) -> None:
    reader = login("view_storedevent", "view_payload", "view_dog")
    with event_metadata({CORRELATION_ID: "order"}):
        position = school.register("Fido")
    row = DogRow.objects.create(id=Dog.create_id("Fido"), name="Fido", tricks=[])
    append(server, "snapshot-$x", "school:Summary")
    file = ROOT / "django_esdb" / "locale" / language / "LC_MESSAGES" / "django.po"

    for page in (
        LIST,
        f"{LIST}?stream={row.pk}",
        f"{LIST}?stream=none",
        f"{LIST}?since=yesterday",
        f"{LIST}?stream=x&prefix=y",
        f"{EVENT}?application=TrainingSchool&position={position}",
        f"{EVENT}?application=TrainingSchool&position=x",
        f"{CAUSE}?application=TrainingSchool&position={position}",
        reverse("admin:training_school_dog_change", args=[row.pk]),
    ):
        response = reader.get(page, headers={"accept-language": language})
        assert response.status_code == 200
        assert f'lang="{language}"' in response.text
        assert not texts_left_in_english(response.text, file), page
