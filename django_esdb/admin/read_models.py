"""The base of admin pages on which nothing can be changed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse

from django_esdb.admin.isolation import isolate_texts
from django_esdb.registry import registry
from django_esdb.status.status import shown
from eventsourcing_eventstoredb.text import storable

_EVENTS = "admin:django_esdb_storedevent_changelist"

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

    Attributes:
        event_application: The name of the application whose events the rows are made
            of; by default that of the projection whose view has the model among its
            ``read_models``.
    """

    actions: Any = None
    event_application = ""

    def event_stream(self, obj: models.Model) -> str:
        """
        Return the ID of the aggregate whose events a row is made of; empty for none.

        By default that is the primary key, if it is a UUID.
        """
        return str(obj.pk) if _is_id(obj.pk) else ""

    def row_of_stream(self, request: HttpRequest, stream: str) -> models.Model | None:
        """
        Return the row that is made of an aggregate's events, or None.

        It is the other way round than :meth:`event_stream`, and overridden with it.

        Args:
            stream: The aggregate's ID, or any other text.
        """
        pk: Any = self.opts.pk
        if not _is_id(stream):
            return None
        try:
            key = pk.to_python(stream)
        except ValidationError:
            return None
        row = self.get_queryset(request).filter(pk=key).first()
        return row if row is not None and self.event_stream(row) == stream else None

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return showable(super().changelist_view(request, extra_context))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        response = super().changeform_view(request, object_id, form_url, extra_context)
        if isinstance(response, TemplateResponse):
            self._add_link_to_events(request, response)
        return showable(response)

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return showable(super().history_view(request, object_id, extra_context))

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

    def _add_link_to_events(
        self, request: HttpRequest, response: TemplateResponse
    ) -> None:
        context = response.context_data
        row = (context or {}).get("original")
        if context is None or row is None:
            return
        if not request.user.has_perm("django_esdb.view_storedevent"):
            return
        stream = self.event_stream(row)
        if not stream:
            return
        try:
            page = reverse(_EVENTS, current_app=self.admin_site.name)
        except NoReverseMatch:
            # A site of its own, without these pages.
            return
        query = {"stream": stream}
        if application := self.event_application or _application_of(self.model):
            query["application"] = application
        context["stored_events"] = f"{page}?{urlencode(query)}"
        # Whichever the project has for it.
        context["usual_page"] = response.resolve_template(response.template_name)
        response.template_name = "admin/django_esdb/read_model_form.html"


def rows_of(
    site: admin.AdminSite, request: HttpRequest, aggregate: str
) -> Iterator[tuple[str, str]]:
    """Yield the rows that are made of an aggregate's events, and their pages."""
    if not aggregate:
        return
    for model, model_admin in site._registry.items():
        if not isinstance(model_admin, ReadModelAdmin):
            continue
        if not model_admin.has_view_permission(request):
            continue
        try:
            row = model_admin.row_of_stream(request, aggregate)
        except (ValidationError, ValueError):
            # A stream can have any name, which may be no key of such rows.
            continue
        if row is not None:
            opts = model._meta
            page = reverse(
                f"admin:{opts.app_label}_{opts.model_name}_change",
                args=[row.pk],
                current_app=site.name,
            )
            yield f"{opts.verbose_name}: {shown(str(row), 100)}", page


def showable(response: HttpResponse) -> HttpResponse:
    """Have a page be sent and read, whatever text its rows have."""
    if isinstance(response, TemplateResponse) and not response.is_rendered:
        response.template_name = _ShowableTemplate(response)
    return response


def _is_id(value: object) -> bool:
    try:
        return isinstance(value, UUID) or str(UUID(str(value))) == value
    except ValueError:
        return False


def _application_of(model: type[models.Model]) -> str:
    for each in registry:
        if model in getattr(each.view_class, "read_models", ()):
            return each.application_name
    return ""
