"""What pages of stored events, causes and rows lead to each other."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse

from django_esdb.admin import ReadModelAdmin
from eventsourcing_eventstoredb import event_metadata
from eventsourcing_eventstoredb.metadata import CAUSATION_ID
from eventsourcing_eventstoredb.server import EmbeddedServer
from example_project.training_school.admin import DogAdmin
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog
from example_project.training_school.models import Dog as DogRow
from tests.support.running_stores import own_stream
from tests.support.stored_event_pages import (
    CAUSE,
    EVENT,
    LIST,
    cells,
    link,
    positions,
    said,
)
from tests.support.stores import append

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


def test_links_lead_to_the_events_that_they_stand_for(
    school: TrainingSchool, server: EmbeddedServer, reader: Client
) -> None:
    school.register("Fido")
    position = school.add_trick("Fido", "sit")
    school.add_trick("Fido", "roll over")
    dog = Dog.create_id("Fido")
    target = own_stream(server, str(dog))
    append(server, "$bc-order", "$>", f"1@{target}".encode())

    listed = reader.get(LIST, {"stream": own_stream(server, "$bc-order")})

    (row,) = cells(listed.text)
    assert row[1] == "$>"
    assert positions(reader.get(link(listed.text, "link")).text)[0] == position


def test_causes_are_found(school: TrainingSchool, reader: Client) -> None:
    cause = school.register("Fido")
    text = reader.get(f"{EVENT}?application=TrainingSchool&position={cause}").text
    event_id = re.search(r"<dt>Event ID</dt><dd>(.*?)</dd>", text)
    assert event_id
    with event_metadata({CAUSATION_ID: event_id[1]}):
        effect = school.register("Rex")
    with event_metadata({CAUSATION_ID: str(uuid4())}):
        other = school.register("Luna")

    shown = reader.get(f"{EVENT}?application=TrainingSchool&position={effect}")
    led = reader.get(link(shown.text, event_id[1]))

    assert led.headers["location"].endswith(f"position={cause}")
    page = f"{CAUSE}?application=TrainingSchool&position="
    assert "which has caused this one, is not among" in said(
        reader.get(f"{page}{other}")
    )
    assert said(reader.get(f"{page}{cause}")) == (
        "What has caused this event is not known."
    )


def test_rows_of_read_models_lead_to_their_events_and_back(
    school: TrainingSchool, login: Callable[..., Client]
) -> None:
    position = school.register("Fido")
    row = DogRow.objects.create(id=Dog.create_id("Fido"), name="Fido Doe", tricks=[])
    form = reverse("admin:training_school_dog_change", args=[row.pk])
    client = login("view_storedevent", "view_dog")

    listed = client.get(link(client.get(form).text, "Events"))

    assert positions(listed.text) == [position]
    assert link(listed.text, "dog: Fido Doe") == form
    shown = client.get(link(listed.text, str(position)))
    assert link(shown.text, "dog: Fido Doe") == form
    client = login("view_dog")
    assert ">Events<" not in client.get(form).text
    client = login("view_storedevent")
    assert "Fido Doe" not in client.get(f"{LIST}?stream={row.pk}").text


class DogByName(ReadModelAdmin):
    """Says which aggregate a row is of, though that is not its key."""

    def event_stream(self, obj: Any) -> str:
        return str(Dog.create_id(obj.name))

    def row_of_stream(self, request: HttpRequest, stream: str) -> DogRow | None:
        # Raises an error for what is no UUID.
        self.model._meta.pk.to_python(stream)
        return next(
            (row for row in DogRow.objects.all() if self.event_stream(row) == stream),
            None,
        )


def test_a_class_says_which_aggregate_its_rows_are_of(
    school: TrainingSchool,
    server: EmbeddedServer,
    login: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("event_stream", "row_of_stream"):
        monkeypatch.setattr(DogAdmin, name, getattr(DogByName, name))
    position = school.register("Fido")
    row = DogRow.objects.create(id=uuid4(), name="Fido", tricks=[])
    form = reverse("admin:training_school_dog_change", args=[row.pk])
    client = login("view_storedevent", "view_dog")

    listed = client.get(link(client.get(form).text, "Events"))

    assert positions(listed.text) == [position]
    assert link(listed.text, "dog: Fido") == form
    append(server, "no-uuid", "X")
    other = client.get(f"{LIST}?stream=no-uuid")
    assert len(cells(other.text)) == 1
