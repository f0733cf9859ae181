"""
A limit for what each web request does with the event store.

It is around Django's handlers and not a middleware, so that no project can forget
it, and what middleware does is limited as well.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from django.core.handlers.base import BaseHandler
from django.http import HttpRequest, HttpResponseBase

from django_esdb.conf import settings
from eventsourcing_eventstoredb import store_deadline

_MARK = "_django_esdb_web_deadline"


def limit_web_requests() -> None:
    """
    Limit all that a web request does with event stores to ``ESDB_WEB_DEADLINE``.

    What is saved or read when the seconds are over raises ``OperationalError``. They
    begin with the request and end when the view has returned its response: what
    streams a body by itself is not limited. Holds for WSGI, ASGI and Django's test
    clients. Idempotent.
    """
    if hasattr(BaseHandler.get_response, _MARK):
        return
    get_response = BaseHandler.get_response
    get_response_async = BaseHandler.get_response_async

    @wraps(get_response)
    def in_time(self: BaseHandler, request: HttpRequest) -> HttpResponseBase:
        with store_deadline(settings.ESDB_WEB_DEADLINE):
            return get_response(self, request)

    @wraps(get_response_async)
    async def in_time_async(
        self: BaseHandler, request: HttpRequest
    ) -> HttpResponseBase:
        with store_deadline(settings.ESDB_WEB_DEADLINE):
            return await get_response_async(self, request)

    handler: Any = BaseHandler
    for limited in (in_time, in_time_async):
        setattr(limited, _MARK, True)
        setattr(handler, limited.__name__, limited)
