"""Web requests have one deadline for the event store."""

from __future__ import annotations

import asyncio
from typing import Any

from django.http import HttpRequest, HttpResponse

from django_esdb.middleware import store_deadline_middleware
from eventsourcing_eventstoredb.deadlines import seconds_left


def test_a_request_has_a_deadline(settings: Any) -> None:
    settings.ESDB_REQUEST_SECONDS = 5
    left: list[float] = []

    def view(request: HttpRequest) -> HttpResponse:
        left.append(seconds_left(60.0))
        return HttpResponse()

    async def async_view(request: HttpRequest) -> HttpResponse:
        return view(request)

    store_deadline_middleware(view)(HttpRequest())
    asyncio.run(store_deadline_middleware(async_view)(HttpRequest()))

    assert len(left) == 2
    assert all(4 < each <= 5 for each in left)
    assert seconds_left(60.0) == 60.0
