"""The base of admin pages on which nothing can be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from eventsourcing_eventstoredb.text import storable

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[models.Model]
else:
    _ModelAdmin = admin.ModelAdmin


class _ShowableResponse(TemplateResponse):
    """A page that is sent whatever text its rows have."""

    def make_bytes(self, value: object) -> bytes:
        # Some databases keep half a surrogate pair in a JSONField, and no page
        # that has one in it can be encoded.
        return super().make_bytes(storable(value) if isinstance(value, str) else value)


class ReadModelAdmin(_ModelAdmin):
    """
    Shows a read model and lets nobody change it.

    A read model is what events say; to change it, do something that the
    application records. All else of ModelAdmin can be used as usual.
    """

    actions: Any = None

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return _showable(super().changelist_view(request, extra_context))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return _showable(
            super().changeform_view(request, object_id, form_url, extra_context)
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: models.Model | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: models.Model | None = None
    ) -> bool:
        return False


def _showable(response: HttpResponse) -> HttpResponse:
    # Made by the admin, which has no hook for another class.
    if type(response) is TemplateResponse:
        response.__class__ = _ShowableResponse
    return response
