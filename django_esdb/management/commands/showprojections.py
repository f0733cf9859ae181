from __future__ import annotations

import io
import json
import shutil
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from django_esdb.management.commands._projections import (
    FAILED,
    require_migrations,
    require_valid_configuration,
)
from django_esdb.registry import registry
from django_esdb.status.status import (
    LOST,
    ProjectionStatus,
    local,
    place,
    projection_statuses,
    shown,
)

_COLUMNS = (
    *("projection", "application", "database", "position", "updated_at"),
    *("state", "since", "owner", "failed", "error"),
)
# What is cut where the terminal is narrow, after the error, and what it is not cut
# below. A line may be wider than the terminal rather than without its state.
_CUTTABLE = {"projection": 12, "application": 12, "database": 8, "owner": 12}
_LEAST_ERROR = 30
_GAP = 2
_LONGEST_CELL = 40
# Where there is no terminal.
_WIDTH = 200
_STATE_STYLES = {
    "running": "green",
    "retrying": "yellow",
    "paused": "red",
    "failed": "red",
    LOST: "red",
}


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
            is_terminal = self.stdout.isatty() or options["force_color"]
            has_colours = self.style.ERROR("x") != "x"
            self._write_table(statuses, with_colour=is_terminal and has_colours)
        else:
            self.stdout.write("No projection is registered.")

    def _write_table(
        self, statuses: Sequence[ProjectionStatus], *, with_colour: bool
    ) -> None:
        width = shutil.get_terminal_size((_WIDTH, 0)).columns
        for line in _rendered(_table(statuses, width), width, with_colour=with_colour):
            self.stdout.write(line)
        advice = [
            f"{shown(each.projection)}: {line}"
            for each in statuses
            for line in each.advice
        ]
        if advice:
            self.stdout.write("\n" + "\n".join(advice))


def _table(statuses: Sequence[ProjectionStatus], width: int) -> Table:
    rows = [_cells(status) for status in statuses]
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
    needed = [
        max(map(cell_len, column)) for column in zip(_COLUMNS, *rows, strict=True)
    ]
    for name, wish in zip(_COLUMNS[:-1], needed, strict=False):
        most = min(wish, _LONGEST_CELL)
        # Rich takes from columns that it may wrap only; none of the texts is wrapped.
        table.add_column(
            name,
            no_wrap=name not in _CUTTABLE,
            min_width=min(most, _CUTTABLE.get(name, most)),
            max_width=most,
        )
    left = width - sum(column.max_width or 0 for column in table.columns)
    left -= _GAP * len(table.columns)
    error = min(needed[-1], max(_LEAST_ERROR, left))
    table.add_column(_COLUMNS[-1], no_wrap=True, min_width=error, max_width=error)
    for status, row in zip(statuses, rows, strict=True):
        table.add_row(*_texts(status, row))
    return table


def _texts(status: ProjectionStatus, cells: Sequence[str]) -> Iterator[Text]:
    """Yield a row's cells as texts, since what is stored may look like markup."""
    for name, cell in zip(_COLUMNS, cells, strict=True):
        style = _STATE_STYLES.get(status.state, "") if name == "state" else ""
        yield Text(cell, style=style, no_wrap=True, overflow="ellipsis")


def _rendered(table: Table, width: int, *, with_colour: bool) -> list[str]:
    """Return the table's lines, with colours and other styles only if wanted."""
    least = sum((column.min_width or 0) + _GAP for column in table.columns)
    console = Console(
        file=io.StringIO(),
        width=max(width, least),
        force_terminal=with_colour,
        color_system="standard" if with_colour else None,
        legacy_windows=False,
    )
    with console.capture() as capture:
        console.print(table, crop=False)
    return [line.rstrip() for line in capture.get().splitlines()]


def _cells(status: ProjectionStatus) -> tuple[str, ...]:
    values = (
        *(status.projection, status.application, status.database, status.position),
        *(_time(status.updated_at), status.state, _time(status.state_since)),
        *(place(status.owner), status.failed_events or None, status.error),
    )
    return tuple("-" if value in (None, "") else shown(str(value)) for value in values)


def _as_json(status: ProjectionStatus) -> dict[str, Any]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in asdict(status).items()
    }


def _time(value: datetime | None) -> str | None:
    return None if value is None else f"{local(value):%Y-%m-%d %H:%M:%S}"
