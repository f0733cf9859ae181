from __future__ import annotations

import json
import shutil
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from django_esdb.management.commands._projections import (
    FAILED,
    require_migrations,
    require_valid_configuration,
)
from django_esdb.registry import registry
from django_esdb.status.status import (
    ProjectionStatus,
    local,
    place,
    projection_statuses,
    shown,
)

# The error comes last and gets what is left of the line.
_COLUMNS = (
    *("projection", "application", "database", "position", "updated_at"),
    *("state", "since", "owner", "failed", "error"),
)
_GAP = "  "
_LONGEST_CELL = 40
_LEAST_ERROR = 30
# Where there is no terminal.
_WIDTH = 200


class Command(BaseCommand):
    help = (
        "Shows what each projection is at: how far it has got, who runs it, and "
        "what is wrong. Asks the database only, not the event store."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="Print a JSON list instead of a table."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        require_valid_configuration()
        require_migrations(registry)
        try:
            statuses = projection_statuses()
        except DatabaseError as error:
            msg = f"Cannot use the database: {shown(str(error))}"
            raise CommandError(msg, returncode=FAILED) from None
        if options["json"]:
            self.stdout.write(
                json.dumps([_as_json(each) for each in statuses], indent=2)
            )
        elif statuses:
            self._write_table(statuses)
        else:
            self.stdout.write("No projection is registered.")

    def _write_table(self, statuses: Sequence[ProjectionStatus]) -> None:
        lines = [_COLUMNS, *(_cells(each) for each in statuses)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        total = shutil.get_terminal_size((_WIDTH, 0)).columns
        used = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(_LEAST_ERROR, total - used))
        for line in lines:
            cells = (
                _cut(cell, width).ljust(width)
                for cell, width in zip(line, widths, strict=True)
            )
            self.stdout.write(_GAP.join(cells).rstrip())
        advice = [
            f"{shown(each.projection)}: {line}"
            for each in statuses
            for line in each.advice
        ]
        if advice:
            self.stdout.write("\n" + "\n".join(advice))


def _cells(status: ProjectionStatus) -> tuple[str, ...]:
    values = (
        *(status.projection, status.application, status.database, status.position),
        *(_time(status.updated_at), status.state, _time(status.state_since)),
        *(place(status.owner), status.failed_events or None, status.error),
    )
    texts = ["-" if value in (None, "") else shown(str(value)) for value in values]
    return (*(_cut(text, _LONGEST_CELL) for text in texts[:-1]), texts[-1])


def _as_json(status: ProjectionStatus) -> dict[str, Any]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in asdict(status).items()
    }


def _time(value: datetime | None) -> str | None:
    return None if value is None else f"{local(value):%Y-%m-%d %H:%M:%S}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
