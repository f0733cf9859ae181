"""The base of admin pages on which nothing can be changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db import DatabaseError, DataError, models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from django_esdb.admin.as_of import AsOf, as_of
from django_esdb.admin.bounded_counts import BoundedPaginator, pages_of
from django_esdb.admin.isolation import isolate_texts
from django_esdb.admin.links import link_to
from django_esdb.registry import registry
from django_esdb.status.status import shown
from eventsourcing_eventstoredb.text import storable

# Whose values Django takes as they are.
_UNCHECKED = re.compile(r"__(?:i?regex|(?:iso_)?year)(?:__|$)")
# What cannot be seen, and is no text in HTML either.
_CONTROL = re.compile("[\0-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_EVENTS = "django_esdb_storedevent_changelist"
_TRACKING = "django_esdb_projectiontracking_change"

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
        return _CONTROL.sub("\ufffd", storable(isolate_texts(page)))


def _is_asked_wrongly(request: HttpRequest, error: Exception) -> bool:
    """Return whether an error is of what the address asks for, and of nothing else."""
    if isinstance(error, OverflowError | DataError):
        return bool(request.GET)
    # SQLite and MariaDB tell no wrong pattern from other errors.
    return any(_UNCHECKED.search(name) for name in request.GET)


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
    paginator = BoundedPaginator
    # It would be counted.
    show_full_result_count = False
    event_application = ""

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["django_esdb/read_models.css"]}

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
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse):
            self._complete_list(request, response)
        return showable(response)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        try:
            return super().get_changelist_instance(request)
        except (OverflowError, ValueError, DatabaseError) as error:
            if not _is_asked_wrongly(request, error):
                raise
            # The list is shown without what was asked for.
            raise IncorrectLookupParameters from error

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        response = super().changeform_view(request, object_id, form_url, extra_context)
        if isinstance(response, TemplateResponse):
            self._complete_form(request, response)
        return showable(response)

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        response = super().history_view(request, object_id, extra_context)
        if isinstance(response, TemplateResponse):
            _extend(response, "history", {"media": self.media})
        return showable(response)

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

    def _complete_list(self, request: HttpRequest, response: TemplateResponse) -> None:
        """Say how far the rows are, and how many they are without counting all."""
        cl = (response.context_data or {}).get("cl")
        if cl is None:
            # A page of an action's.
            return
        context = {"as_of": self._as_of(request), **pages_of(cl)}
        _extend(response, "list", context)

    def _complete_form(self, request: HttpRequest, response: TemplateResponse) -> None:
        """Say how far the row is, and lead to its events."""
        row = (response.context_data or {}).get("original")
        if row is None:
            return
        context = {
            "as_of": self._as_of(request),
            "stored_events": self._events_page(request, row),
        }
        _extend(response, "form", context)

    def _as_of(self, request: HttpRequest) -> list[tuple[AsOf, str]]:
        may_view = request.user.has_perm("django_esdb.view_projectiontracking")
        return [
            (
                each,
                link_to(self.admin_site, _TRACKING, each.pk)
                if may_view and each.pk
                else "",
            )
            for each in as_of(self.model)
        ]

    def _events_page(self, request: HttpRequest, row: models.Model) -> str:
        if not request.user.has_perm("django_esdb.view_storedevent"):
            return ""
        stream = self.event_stream(row)
        if not stream:
            return ""
        query = {"stream": stream}
        if application := self.event_application or _application_of(self.model):
            query["application"] = application
        return link_to(self.admin_site, _EVENTS, **query)


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
            page = link_to(site, f"{opts.app_label}_{opts.model_name}_change", row.pk)
            yield f"{opts.verbose_name}: {shown(str(row), 100)}", page


def _extend(response: TemplateResponse, name: str, context: dict[str, Any]) -> None:
    """Put more on a page, whichever template the project has for it."""
    usual = response.resolve_template(response.template_name)
    usually = response.context_data or {}
    response.context_data = {
        **usually,
        **context,
        # In some languages the model's name, which is in lower case, comes first.
        "title": capfirst(usually.get("title")),
        "usual_page": usual,
    }
    response.template_name = f"admin/django_esdb/read_model_{name}.html"


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
