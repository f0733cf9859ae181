"""A site that lets browsers run and apply its own files only."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# For the setting MIDDLEWARE.
CONTENT_POLICY = f"{__name__}.content_policy"
POLICY = "script-src 'self'; style-src 'self'"


def content_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: have each page be under the strict policy."""

    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return respond
