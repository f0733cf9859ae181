"""An event store that says nothing holds a web request for its deadline only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path, reverse
from eventsourcing.persistence import OperationalError

from django_esdb import get_application
from django_esdb.applications import close_applications
from eventsourcing_eventstoredb.protocol import retrying
from example_project.training_school.application import TrainingSchool
from tests.support.event_stores import EventStore

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


def details(request: HttpRequest) -> HttpResponse:
    """Read, and again when that fails, as views do that want to be clever."""
    for _ in range(5):
        try:
            return HttpResponse(get_application(TrainingSchool).get_dog_details("Rex"))
        except OperationalError:
            continue
    return HttpResponse("away", status=503)


urlpatterns = [
    path("details/", details),
    path("", include("example_project.urls")),
]


@pytest.fixture
def silent(
    store: EventStore, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EventStore]:
    """A store that has fallen silent, with hours for a save or a read by itself."""
    monkeypatch.setattr(retrying, "READ_DEADLINE", 7200.0)
    settings.ESDB_URI = f"{store.uri}&DefaultDeadline=7200"
    settings.ESDB_WEB_DEADLINE = 0.3
    settings.ROOT_URLCONF = __name__
    get_application(TrainingSchool).register("Rex")
    store.freeze()
    yield store
    store.kill()
    close_applications()


def test_a_save_ends_in_time(silent: EventStore, client: Client) -> None:
    response = client.post(reverse("training_school:register"), {"name": "Fido"})

    assert response.status_code == 503


def test_reads_end_in_time_together(silent: EventStore, client: Client) -> None:
    assert client.get("/details/").content == b"away"


def test_requests_end_in_time_while_another_connects(
    silent: EventStore, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    close_applications()
    connecting, go_on = threading.Event(), threading.Event()

    class Slow(TrainingSchool):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            connecting.set()
            go_on.wait()
            super().__init__(*args, **kwargs)

    other = threading.Thread(target=get_application, args=(Slow,))
    other.start()
    connecting.wait()

    response = client.get("/details/")
    go_on.set()
    other.join()

    assert response.content == b"away"
