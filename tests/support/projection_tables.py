"""What ``showprojections`` prints, and rows for it."""

from __future__ import annotations

import io
import json
from typing import Any

from django.core.management import CommandError, call_command
from django.utils import timezone

from django_esdb.models import (
    FailedEvent,
    ProjectionTracking,
)

SECRET = "s3cret-w0rd"


def change(row: ProjectionTracking, **changes: Any) -> None:
    ProjectionTracking.objects.filter(pk=row.pk).update(**changes)


def printed(*arguments: str, **options: Any) -> str:
    """Return what the command prints, whether all is well or not."""
    out = io.StringIO()
    try:
        call_command("showprojections", *arguments, stdout=out, **options)
    except CommandError as error:
        if not str(error).startswith("Not well: "):
            raise
    return out.getvalue()


def table(*names: str) -> list[str]:
    """Return the lines below the titles."""
    return printed(*names).splitlines()[1:]


def listed() -> list[dict[str, Any]]:
    return json.loads(printed("--json"))


def park(row: ProjectionTracking, position: int, **values: Any) -> FailedEvent:
    return FailedEvent.objects.create(
        projection=row.projection,
        application=row.application,
        position=position,
        originator_version=1,
        parked_at=timezone.now(),
        **values,
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


HOSTILE = "<script>\n\x1b[31m\u202e " + "x" * 3000
