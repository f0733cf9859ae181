"""The base of admin pages on which nothing is edited, and something can be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse

from django_esdb.admin.actions import Retried
from django_esdb.admin.read_models import ReadModelAdmin

View = TypeVar("View", bound=Callable[..., Any])


def non_atomic(view: View) -> View:
    """Have each event have a transaction of its own, whatever ATOMIC_REQUESTS says."""
    for alias in connections:
        view = transaction.non_atomic_requests(alias)(view)
    return view


class ActingAdmin(ReadModelAdmin):
    """Shows what cannot be edited, yet can be acted upon with some permission."""

    show_full_result_count = False

    @non_atomic
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, extra_context)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return _may(request, "retry")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return _may(request, "discard")

    def has_debug_permission(self, request: HttpRequest) -> bool:
        return _may(request, "debug")

    def tell(self, request: HttpRequest, retried: Retried) -> None:
        """Show what came of a retry above the next page."""
        self.message_user(request, retried.text, retried.level)


def _may(request: HttpRequest, what: str) -> bool:
    return bool(request.user.has_perm(f"django_esdb.{what}_failedevent"))
