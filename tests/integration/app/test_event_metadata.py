"""Metadata of events in web requests, in projections and by the setting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from eventsourcing.persistence import InfrastructureFactoryError, Tracking
from eventsourcing.popo import POPOTrackingRecorder

from django_esdb import event_metadata, get_application
from django_esdb.checks.configuration import check_all
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.models import FailedEvent
from django_esdb.policies import OnFailure
from django_esdb.registry import Registration
from django_esdb.runner import ProjectionRunner
from eventsourcing_eventstoredb.metadata import (
    CAUSATION_ID,
    CORRELATION_ID,
    handled_metadata,
    metadata_of,
)
from example_project.training_school.application import TrainingSchool
from example_project.training_school.projections import TrainingSchoolProjection
from tests.support.supervising import catch_up, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MakeRegistration = Callable[..., Registration]


class Seeing(TrainingSchoolProjection):
    """Notes what its handlers see, and registers a puppy of each dog but puppies."""

    name = TrainingSchoolProjection.name
    seen: list[tuple[str, dict[str, str]]] = []
    fails = False

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        metadata = self.metadata  # type: ignore[attr-defined]
        Seeing.seen.append((domain_event.name, dict(metadata)))
        if Seeing.fails:
            msg = "it fails"
            raise ValueError(msg)
        if "puppy" not in domain_event.name:
            puppy = f"puppy of {domain_event.name}"
            get_application(TrainingSchool).register(puppy)
        super().process_event(domain_event, tracking)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    Seeing.seen.clear()
    Seeing.fails = False


def said(school: TrainingSchool) -> list[Mapping[str, str]]:
    """Return the metadata of all the school's events, in order."""
    return [metadata_of(n) for n in school.recorder.select_notifications(None, 100)]


def ids(school: TrainingSchool) -> list[str]:
    return [
        vars(n)["event_id"] for n in school.recorder.select_notifications(None, 100)
    ]


@pytest.mark.any_database
def test_handlers_see_it_and_what_they_save_follows(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    with event_metadata(user="7"):
        school.register("Fido")
    school.register("Rex")
    with event_metadata({CORRELATION_ID: "order 1"}):
        school.register("Max")

    with event_metadata(user="of the thread that starts the runner"):
        catch_up(registration(projection_class=Seeing))
    catch_up(registration(projection_class=Seeing))

    fido, rex, max_ = ids(school)[:3]
    of_fido = {CORRELATION_ID: fido, CAUSATION_ID: fido}
    of_rex = {CORRELATION_ID: rex, CAUSATION_ID: rex}
    of_max = {CORRELATION_ID: "order 1", CAUSATION_ID: max_}
    assert said(school)[3:] == [of_fido, of_rex, of_max]
    assert Seeing.seen == [
        ("Fido", {"user": "7"}),
        ("Rex", {}),
        ("Max", {CORRELATION_ID: "order 1"}),
        ("puppy of Fido", of_fido),
        ("puppy of Rex", of_rex),
        ("puppy of Max", of_max),
    ]
    assert handled_metadata() == {}


def test_events_that_are_tried_again_have_it(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    with event_metadata(user="7"):
        school.register("Fido")
    parking = registration(projection_class=Seeing, on_failure=OnFailure.PARK)
    Seeing.fails = True
    catch_up(parking)
    assert FailedEvent.objects.count() == 1
    Seeing.fails = False

    assert retry_failed_events(parking).resolved == 1

    assert Seeing.seen[-1] == ("Fido", {"user": "7"})
    (fido, _) = ids(school)
    assert said(school)[1] == {CORRELATION_ID: fido, CAUSATION_ID: fido}


class View(POPOTrackingRecorder):
    """Is not in the database."""

    def register_dog(self, dog_id: UUID, name: str, tracking: Tracking) -> None:
        self.insert_tracking(tracking)


@pytest.mark.any_database
def test_handlers_of_other_views_see_it(
    school: TrainingSchool, registration: MakeRegistration
) -> None:
    with event_metadata(user="7"):
        school.register("Fido")
    last = school.register("Rex puppy")
    popo = registration(projection_class=Seeing, view_class=View)

    with ProjectionRunner(
        application_class=TrainingSchool,
        projection_class=Seeing,
        view_class=View,
        env={
            **popo.env(),
            f"{Seeing.name.upper()}_PERSISTENCE_MODULE": "eventsourcing.popo",
        },
    ) as runner:
        runner.wait(last, timeout=60)
        wait_until(lambda: len(Seeing.seen) == 3)

    (fido, _, _) = ids(school)
    links = {CORRELATION_ID: fido, CAUSATION_ID: fido}
    assert Seeing.seen == [
        ("Fido", {"user": "7"}),
        ("Rex puppy", {}),
        ("puppy of Fido", links),
    ]


def test_a_projection_without_a_runner_sees_none_and_its_own_name_is_kept(
    school_projection: Registration,
) -> None:
    class Own(TrainingSchoolProjection):
        metadata = "own"

    view: Any = None
    assert TrainingSchoolProjection(view).metadata == {}  # type: ignore[attr-defined]
    assert Own(view).metadata == "own"


def register(request: HttpRequest) -> HttpResponse:
    get_application(TrainingSchool).register(request.GET["name"])
    return HttpResponse()


async def register_in_thread(request: HttpRequest) -> HttpResponse:
    return await sync_to_async(register)(request)


async def register_in_loop(request: HttpRequest) -> HttpResponse:
    return register(request)


def handler500(request: HttpRequest) -> HttpResponse:
    # The example's leads to the example's pages.
    return HttpResponse(status=500)


urlpatterns = [
    path("sync/", register),
    path("async/", register_in_thread),
    path("loop/", register_in_loop),
    path("quiet/", lambda request: HttpResponse()),
]


def ask(client: AsyncClient, place: str, **options: Any) -> None:
    """Send a request, and close what it has opened, which such a client does not."""

    async def send() -> None:
        try:
            await client.get(place, **options)
        finally:
            await sync_to_async(connections.close_all)()

    asyncio.run(send())


@pytest.fixture
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [
        "django_esdb.middleware.EventMetadataMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    settings.ESDB_WEB_DEADLINE = 300


@pytest.mark.any_database
@pytest.mark.usefixtures("site")
def test_requests_say_their_id_and_user(school: TrainingSchool) -> None:
    user = get_user_model().objects.create_user("who", password="secret")
    client, async_client = Client(), AsyncClient()
    client.get("/sync/?name=Fido", headers={"X-Request-ID": "request-1"})
    client.force_login(user)
    client.get("/sync/?name=Rex", headers={"X-Request-ID": "request-2"})
    async_client.force_login(user)
    ask(async_client, "/async/?name=Max", headers={"X-Request-ID": "request-3"})
    school.register("Bella")

    key = str(user.pk)
    assert said(school) == [
        {CORRELATION_ID: "request-1", "request_id": "request-1"},
        {CORRELATION_ID: "request-2", "request_id": "request-2", "user": key},
        {CORRELATION_ID: "request-3", "request_id": "request-3", "user": key},
        {},
    ]


@pytest.mark.any_database
@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "a\u00e4", "$(id)"])
def test_a_request_id_that_is_none_is_not_taken(
    school: TrainingSchool, given: str
) -> None:
    for name in ("Fido", "Rex"):
        Client().get(f"/sync/?name={name}", headers={"X-Request-ID": given})

    first, second = said(school)
    assert (
        first[CORRELATION_ID] == first["request_id"] == str(UUID(first["request_id"]))
    )
    assert first["request_id"] != second["request_id"]


@pytest.mark.any_database
@pytest.mark.usefixtures("site")
def test_a_request_that_saves_nothing_loads_no_user(
    django_assert_num_queries: Any,
) -> None:
    user = get_user_model().objects.create_user("who")
    client = Client()
    client.force_login(user)

    with django_assert_num_queries(0):
        response = client.get("/quiet/")

    assert "Vary" not in response.headers


@pytest.mark.any_database
@pytest.mark.usefixtures("site", "school")
def test_saving_in_the_event_loop_says_what_to_do() -> None:
    client = AsyncClient()
    client.force_login(get_user_model().objects.create_user("who"))

    with pytest.raises(SynchronousOnlyOperation, match=r"await asave\("):
        ask(client, "/loop/?name=Fido")


def provided() -> dict[str, str]:
    return {"release": "1.0"}


@pytest.mark.any_database
def test_a_setting_names_a_function_that_says_more(
    school: TrainingSchool, settings: Any
) -> None:
    settings.ESDB_EVENT_METADATA = f"{__name__}.provided"
    get_application(TrainingSchool).register("Fido")
    with closing(TrainingSchool()) as plain:
        plain.register("Rex")
    settings.ESDB_EVENT_METADATA = None
    get_application(TrainingSchool).register("Max")

    assert said(get_application(TrainingSchool)) == [
        {"release": "1.0"},
        {"release": "1.0"},
        {},
    ]


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["no.such.function", 7, "tests"])
def test_a_function_that_is_not_there_is_told(settings: Any, name: Any) -> None:
    settings.ESDB_URI = "esdb://localhost:1?Tls=false"
    settings.ESDB_EVENT_METADATA = name

    (found,) = [each for each in check_all() if each.id == "django_esdb.E030"]
    assert "ESDB_EVENT_METADATA cannot be used" in found.msg
    with pytest.raises(InfrastructureFactoryError, match="EVENTSTOREDB_EVENT_METADATA"):
        get_application(TrainingSchool)


@pytest.mark.any_database
def test_a_function_that_is_there_passes(settings: Any) -> None:
    settings.ESDB_URI = "esdb://localhost:1?Tls=false"
    settings.ESDB_EVENT_METADATA = f"{__name__}.provided"

    assert "django_esdb.E030" not in [each.id for each in check_all()]
