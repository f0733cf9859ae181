"""An event store that says nothing holds a web request for its deadline only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path, reverse
from eventsourcing.persistence import OperationalError

from django_esdb import get_application
from django_esdb.applications.shared import close_applications
from django_esdb.models import FailedEvent
from django_esdb.policies import OnFailure
from django_esdb.registry import registry
from eventsourcing_eventstoredb.protocol import retrying
from example_project.training_school.application import TrainingSchool
from example_project.training_school.models import Dog
from tests.support.event_stores import EventStore
from tests.support.failed_events import (
    FAILED,
    TRACKING,
    MakeRegistration,
    PickyProjection,
    act,
    said,
)
from tests.support.supervising import catch_up, tracking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


def details(request: HttpRequest) -> HttpResponse:
    """Read, and again when that fails, as views do that want to be clever."""
    for _ in range(5):
        try:
            return HttpResponse(get_application(TrainingSchool).get_dog_details("Rex"))
        except OperationalError:
            continue
    return HttpResponse("away", status=503)


def cancel(request: HttpRequest) -> HttpResponse:
    """Save what was loaded before, as it is in the cache."""
    try:
        get_application(TrainingSchool).add_trick("Rex", "sit")
    except OperationalError:
        return HttpResponse("away", status=503)
    return HttpResponse("saved")


urlpatterns = [
    path("details/", details),
    path("cancel/", cancel),
    path("", include("example_project.urls")),
]


@pytest.fixture
def silent(
    store: EventStore,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    registration: MakeRegistration,
) -> Iterator[EventStore]:
    """A store that has fallen silent, with hours for a save or a read by itself."""
    monkeypatch.setattr(retrying, "READ_DEADLINE", 7200.0)
    settings.ESDB_URI = f"{store.uri}&DefaultDeadline=7200"
    settings.ESDB_WEB_DEADLINE = 0.3
    settings.ROOT_URLCONF = __name__
    school = get_application(TrainingSchool)
    school.register("Rex")
    for name in ("Fido", "Ben"):
        school.register(name)
        school.add_trick(name, "burn")
    monkeypatch.setattr(PickyProjection, "bad", {"burn"})
    picky = registration(projection_class=PickyProjection, on_failure=OnFailure.PARK)
    monkeypatch.setitem(registry._registry, "Picky", picky)
    catch_up(picky)
    store.freeze()
    yield store
    store.kill()
    close_applications()


def test_a_save_ends_in_time(silent: EventStore, client: Client) -> None:
    response = client.post(reverse("training_school:register"), {"name": "Fido"})

    assert response.status_code == 503


def test_reads_end_in_time_together(silent: EventStore, client: Client) -> None:
    assert client.get("/details/").content == b"away"


def test_a_read_and_a_save_end_in_time_together(
    silent: EventStore, client: Client
) -> None:
    assert client.get("/cancel/").content == b"away"


def example_pages() -> list[str]:
    dog = Dog.objects.get(name="Rex")
    return [
        reverse("training_school:dogs"),
        reverse("training_school:register"),
        reverse("training_school:dog", args=[dog.pk]),
    ]


def admin_pages(kind: type[Model]) -> list[str]:
    name = f"admin:{kind._meta.app_label}_{kind._meta.model_name}"
    pages = [reverse(f"{name}_changelist")]
    if (row := kind._default_manager.first()) is not None:
        pages += [
            reverse(f"{name}_{what}", args=[row.pk]) for what in ("change", "history")
        ]
    return pages


def test_each_page_ends_in_time(silent: EventStore, admin_client: Client) -> None:
    pages = [*example_pages(), reverse("admin:index")]
    for kind in admin.site._registry:
        pages += admin_pages(kind)

    # Which alone shows what is in the store.
    of_store = reverse("admin:django_esdb_storedevent_changelist")
    for page in pages:
        status = 503 if page == of_store else 200
        assert admin_client.get(page).status_code == status, page


@pytest.mark.parametrize("page", [1, 2], ids=["register", "teach"])
def test_each_form_of_the_example_ends_in_time(
    silent: EventStore, client: Client, page: int
) -> None:
    response = client.post(example_pages()[page], {"name": "Tim", "trick": "sit"})

    assert response.status_code == 503


@pytest.mark.slow("waits for two long deadlines")
def test_each_action_of_the_admin_ends_in_time(
    silent: EventStore, admin_client: Client, settings: Any
) -> None:
    # So long that a busy machine comes to begin with an event, too.
    settings.ESDB_WEB_DEADLINE = 5.0
    events, row = FailedEvent.objects.all(), tracking()

    for path_, rows in ((TRACKING, [row]), (FAILED, events)):
        ((level, text),) = said(act(admin_client, path_, "retry", *rows))
        assert level == "error"
        assert "OperationalError" in text
    assert act(admin_client, FAILED, "discard", *events).status_code == 200
    discarded = act(admin_client, FAILED, "discard", *events, confirmed="yes")
    assert said(discarded) == [("success", "2 discarded")]


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
