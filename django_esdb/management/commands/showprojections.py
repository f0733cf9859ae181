from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from django_esdb.exceptions import ViewDatabaseError
from django_esdb.management.commands._projections import (
    require_migrations,
    require_valid_configuration,
)
from django_esdb.models import ProjectionTracking
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.registry import Registration, registry

_COLUMNS = ("projection", "application", "database", "position", "updated_at")


class Command(BaseCommand):
    help = (
        "Shows the registered projections and how far each has got. "
        "Asks the database only, not the event store."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="Print a JSON list instead of a table."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        require_valid_configuration()
        require_migrations(registry)
        rows = [_describe(registration) for registration in registry]
        if options["json"]:
            self.stdout.write(json.dumps(rows, indent=2))
        elif rows:
            self._write_table(rows)
        else:
            self.stdout.write("No projection is registered.")

    def _write_table(self, rows: list[dict[str, Any]]) -> None:
        lines = [_COLUMNS] + [
            tuple("-" if row[c] is None else str(row[c]) for c in _COLUMNS)
            for row in rows
        ]
        widths = [max(len(line[i]) for line in lines) for i in range(len(_COLUMNS))]
        for line in lines:
            cells = (
                cell.ljust(width) for cell, width in zip(line, widths, strict=True)
            )
            self.stdout.write("  ".join(cells).rstrip())


def _describe(registration: Registration) -> dict[str, Any]:
    view_class = registration.view_class
    row: dict[str, Any] = {
        "projection": registration.name,
        "application": registration.application_name,
        "topics": list(registration.projection_class.topics),
        "view": f"{view_class.__module__}.{view_class.__qualname__}",
        "database": None,
        "position": None,
        "updated_at": None,
    }
    if not issubclass(view_class, DjangoTrackingRecorder):
        return row
    try:
        row["database"] = view_class.database()
    except ViewDatabaseError:
        return row
    tracking = (
        ProjectionTracking.objects.using(row["database"])
        .of(registration.name, registration.application_name)
        .first()
    )
    if tracking is not None:
        row["position"] = tracking.position
        if tracking.updated_at is not None:
            row["updated_at"] = tracking.updated_at.isoformat()
    return row
