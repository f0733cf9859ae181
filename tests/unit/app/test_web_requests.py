"""Web requests have one deadline for the event store, without being configured."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from django_esdb.applications.web_requests import limit_web_requests
from eventsourcing_eventstoredb.deadlines import seconds_left


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(seconds_left(60.0)))


async def async_view(request: HttpRequest) -> HttpResponse:
    return view(request)


urlpatterns = [path("sync/", view), path("async/", async_view)]


@pytest.fixture(autouse=True)
def _site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []


@pytest.mark.parametrize("place", ["/sync/", "/async/"])
@pytest.mark.parametrize("seconds", [None, 2])
def test_a_request_has_a_deadline(settings: Any, place: str, seconds: Any) -> None:
    if seconds is not None:
        settings.ESDB_WEB_DEADLINE = seconds
    longest = seconds or 5

    async def ask() -> float:
        return float((await AsyncClient().get(place)).content)

    left = [float(Client().get(place).content), asyncio.run(ask())]

    assert all(longest - 2 < each <= longest for each in left)
    assert seconds_left(60.0) == 60.0


def test_requests_are_limited_once() -> None:
    limited = BaseHandler.get_response, BaseHandler.get_response_async

    limit_web_requests()

    assert (BaseHandler.get_response, BaseHandler.get_response_async) == limited
