"""Async views save without blocking the event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from eventsourcing.persistence import IntegrityError

from django_esdb import asave, get_application
from eventsourcing_eventstoredb.metadata import CORRELATION_ID, metadata_of
from example_project.training_school.application import TrainingSchool
from example_project.training_school.domain import Dog

# Requests that are under way at once; none gets on before all have come so far.
REQUESTS = 100
SECONDS = 60


class MeetingSchool(TrainingSchool):
    """Saves nothing before as many others are about to save as there are requests."""

    name = TrainingSchool.name
    meeting = threading.Barrier(REQUESTS)

    def save(self, *objs: Any, **kwargs: Any) -> Any:
        self.meeting.wait(SECONDS)
        return super().save(*objs, **kwargs)


async def register(request: HttpRequest) -> HttpResponse:
    recordings = await asave(get_application(MeetingSchool), Dog(request.GET["name"]))
    return HttpResponse(str(recordings[-1].notification.id))


urlpatterns = [path("register/", register)]


async def ask(application: Any, name: str) -> tuple[int, str]:
    """Send a request as a server does, and return its status and body."""
    communicator = ApplicationCommunicator(
        application,
        {
            "type": "http",
            "method": "GET",
            "path": "/register/",
            "query_string": f"name={name}".encode(),
            "headers": [(b"host", b"localhost"), (b"x-request-id", name.encode())],
        },
    )
    await communicator.send_input({"type": "http.request", "body": b""})
    start = await communicator.receive_output(SECONDS)
    body = await communicator.receive_output(SECONDS)
    await communicator.wait(SECONDS)
    return start["status"], body["body"].decode()


def test_100_requests_save_at_once(school: TrainingSchool, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.ALLOWED_HOSTS = ["localhost"]
    settings.MIDDLEWARE = ["django_esdb.middleware.EventMetadataMiddleware"]
    settings.ESDB_WEB_DEADLINE = 300
    names = [f"dog-{number}" for number in range(REQUESTS)]

    async def main() -> list[tuple[int, str]]:
        application = get_asgi_application()
        return await asyncio.gather(*(ask(application, name) for name in names))

    answers = asyncio.run(main())

    assert {status for status, _ in answers} == {200}
    notifications = school.recorder.select_notifications(None, 2 * REQUESTS)
    assert sorted(n.id for n in notifications) == sorted(int(at) for _, at in answers)
    # Each event says which request has saved it.
    said = {n.originator_id: metadata_of(n)[CORRELATION_ID] for n in notifications}
    assert said == {Dog.create_id(name): name for name in names}


def test_what_the_save_raises_is_raised(school: TrainingSchool) -> None:
    async def main() -> None:
        await asave(school, Dog("Fido"))
        await asave(school, Dog("Fido"))

    with pytest.raises(IntegrityError):
        asyncio.run(main())
    assert len(school.recorder.select_notifications(None, 10)) == 1
