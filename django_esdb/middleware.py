"""Limits for what web requests do with the event store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from django_esdb.conf import settings
from eventsourcing_eventstoredb import store_deadline

_Response = Callable[[HttpRequest], HttpResponse]
_AsyncResponse = Callable[[HttpRequest], Awaitable[HttpResponse]]


@sync_and_async_middleware
def store_deadline_middleware(
    get_response: _Response | _AsyncResponse,
) -> _Response | _AsyncResponse:
    """
    Limit all that a request does with the event store to ``ESDB_REQUEST_SECONDS``.

    What is saved or read when they are over raises ``OperationalError``.
    """
    if iscoroutinefunction(get_response):

        async def in_time_async(request: HttpRequest) -> HttpResponse:
            with store_deadline(settings.ESDB_REQUEST_SECONDS):
                response: HttpResponse = await get_response(request)
                return response

        return in_time_async

    def in_time(request: HttpRequest) -> HttpResponse:
        with store_deadline(settings.ESDB_REQUEST_SECONDS):
            response: HttpResponse = get_response(request)  # type: ignore[assignment]
            return response

    return in_time
