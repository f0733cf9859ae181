"""The base of admin pages on which nothing can be changed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from django_esdb.admin.isolation import isolate_texts
from eventsourcing_eventstoredb.text import storable

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[models.Model]
else:
    _ModelAdmin = admin.ModelAdmin


class _ShowableTemplate:
    """
    A template whose page can be sent and read, whatever text its rows have.

    Args:
        response: Whose template it takes the place of.
    """

    def __init__(self, response: TemplateResponse) -> None:
        self._resolve = partial(response.resolve_template, response.template_name)

    def render(
        self, context: dict[str, Any] | None = None, request: HttpRequest | None = None
    ) -> str:
        # Some databases keep half a surrogate pair in a JSONField, and no page
        # that has one in it can be encoded.
        page = self._resolve().render(context, request)
        return storable(isolate_texts(page))


class ReadModelAdmin(_ModelAdmin):
    """
    Shows a read model, which no user can change here.

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

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return _showable(super().history_view(request, object_id, extra_context))

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
    if isinstance(response, TemplateResponse) and not response.is_rendered:
        response.template_name = _ShowableTemplate(response)
    return response
