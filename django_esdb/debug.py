"""A filter for Django's error pages and reports."""

from __future__ import annotations

from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views import debug
from eventsourcing.utils import Environment

from django_esdb.masking import masked


class SafeExceptionReporterFilter(debug.SafeExceptionReporterFilter):
    """
    Hides passwords in connection strings, too, which Django shows.

    Name it in ``DEFAULT_EXCEPTION_REPORTER_FILTER``, or derive from it there.
    """

    def cleanse_setting(self, key: int | str, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        if isinstance(cleansed, str) and cleansed is not self.cleansed_substitute:
            return masked(str(key), cleansed)
        return cleansed

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        variables = super().get_traceback_frame_variables(request, tb_frame)
        return {
            name: self._cleanse_variable(value) for name, value in variables
        }.items()

    def _cleanse_variable(self, value: Any) -> Any:
        if isinstance(value, str):
            return masked("", value)
        if type(value) in (dict, Environment):
            # No deeper, since variables, unlike settings, may be without an end.
            return {
                key: self.cleanse_setting(key, item) if isinstance(item, str) else item
                for key, item in value.items()
            }
        return value
