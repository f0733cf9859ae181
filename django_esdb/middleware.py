"""Who makes a web request, in the metadata of the events that it saves."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import uuid4

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest, HttpResponseBase

from eventsourcing_eventstoredb.metadata import CORRELATION_ID, metadata_from

_REQUEST_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)


class EventMetadataMiddleware:
    """
    Says in the metadata of events which request has saved them, and which user.

    ``request_id`` is what the header ``X-Request-ID`` says, if it is one of up to 128
    letters, digits and ``. : / + = @ _ -``, else a random one; it is the events'
    ``$correlationId``, too. ``user`` is the primary key of who is logged in when the
    events are saved. It is asked for then, so a request that saves nothing loads no
    session and no user for it.

    It holds until the view has returned its response, for WSGI and ASGI.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(
        self, request: HttpRequest
    ) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._response_later(request)
        with metadata_from(self._source(request)):
            response: HttpResponseBase = self.get_response(request)
        return response

    async def _response_later(self, request: HttpRequest) -> HttpResponseBase:
        with metadata_from(self._source(request)):
            response: HttpResponseBase = await self.get_response(request)
        return response

    def metadata(self, request: HttpRequest, request_id: str) -> dict[str, str]:
        """Return what is said about events that a request saves; for each save."""
        metadata = {CORRELATION_ID: request_id, "request_id": request_id}
        user = _user_key(request)
        return metadata if user is None else {**metadata, "user": user}

    def _source(self, request: HttpRequest) -> Callable[[], dict[str, str]]:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid4())
        return partial(self.metadata, request, request_id)


def _user_key(request: HttpRequest) -> str | None:
    user: Any = getattr(request, "user", None)
    try:
        if user is None or not user.is_authenticated:
            return None
    except SynchronousOnlyOperation as error:
        msg = (
            "The user who saves an event is loaded from the database, which async code "
            "cannot wait for: save with await asave(...)"
        )
        raise SynchronousOnlyOperation(msg) from error
    return str(user.pk)
