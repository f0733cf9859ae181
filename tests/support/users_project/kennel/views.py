from __future__ import annotations

from typing import assert_type
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest

from django_esdb import (
    asave,
    async_wait_for,
    event_metadata,
    get_application,
    wait_for,
)
from django_esdb.exceptions import DjangoEsdbError, NotProcessedError, ProjectionError
from eventsourcing_eventstoredb import store_deadline
from kennel.domain import Dog, Kennel
from kennel.projections import KennelProjection


def register(request: HttpRequest) -> HttpResponse:
    kennel = get_application(Kennel)
    assert_type(kennel, Kennel)
    dog = Dog(request.POST["name"])
    with store_deadline(2.5), event_metadata({"user": "1"}, request="2"):
        recordings = kennel.save(dog)
    try:
        wait_for(KennelProjection, recordings, timeout=2)
        wait_for(KennelProjection.name, recordings)
    except NotProcessedError as error:
        return HttpResponseBadRequest(str(error))
    return HttpResponse(str(dog.id))


async def add_trick(request: HttpRequest, dog_id: UUID) -> HttpResponse:
    kennel = get_application(Kennel)
    dog: Dog = kennel.repository.get(dog_id)
    dog.add_trick(request.POST["trick"])
    await async_wait_for(KennelProjection, await asave(kennel, dog), 5)
    return HttpResponse()


def why(error: DjangoEsdbError) -> str:
    return "projection" if isinstance(error, ProjectionError) else "something else"
