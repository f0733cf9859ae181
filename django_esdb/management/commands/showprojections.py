from __future__ import annotations

import io
import json
import shutil
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, no_translations
from django.db import Error as DatabaseError
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from django_esdb.management.base import CONFIGURATION, FAILED, SafeCommand
from django_esdb.management.commands._projections import (
    require_migrations,
    require_valid_configuration,
)
from django_esdb.registry import registry
from django_esdb.status.advice import LOST
from django_esdb.status.failed_places import FailedPlace, failed_places
from django_esdb.status.status import (
    ProjectionStatus,
    local,
    place,
    projection_statuses,
    shown,
)

_INDENT = 2
# Where there is no terminal, lines end where their text does.
_UNLIMITED = 100_000
_STATE_STYLES = {
    "running": "green",
    "retrying": "yellow",
    "standing by": "yellow",
    "paused": "red",
    "failed": "red",
    LOST: "red",
}


class Command(SafeCommand):
    help = (
        "Shows what each projection is at: how far it has got, who runs it, and "
        "what is wrong. Asks the database only, not the event store."
    )
    exit_statuses = {
        "0": "shown, whatever the projections are at",
        "1": "a database cannot be used",
        "2": "there is no such projection, or something is not configured",
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "names",
            nargs="*",
            metavar="NAME",
            help="Show only these, with the tracebacks of what has failed.",
        )
        parser.add_argument(
            "--json", action="store_true", help="Print a JSON list instead of lines."
        )

    # Commands say everything in English, so that it can be looked up.
    @no_translations
    def handle(self, *args: Any, names: list[str], **options: Any) -> None:
        require_valid_configuration()
        require_migrations(registry)
        try:
            statuses = _chosen(projection_statuses(), names)
            places = {each.key: failed_places(each) for each in statuses if names}
        except DatabaseError as error:
            msg = f"Cannot use the database: {shown(str(error))}"
            raise CommandError(msg, returncode=FAILED) from error
        if options["json"]:
            self.stdout.write(
                json.dumps([_as_json(each) for each in statuses], indent=2)
            )
            return
        if not statuses:
            self.stdout.write("No projection is registered.")
        is_terminal = self.stdout.isatty() or options["force_color"]
        has_colours = self.style.ERROR("x") != "x"
        printer = _Printer(with_colour=is_terminal and has_colours)
        for status in statuses:
            printer.show(status, places.get(status.key), with_places=bool(names))
        for line in printer.lines():
            self.stdout.write(line)


class _Printer:
    """Lays texts out; what is stored is never taken for markup."""

    def __init__(self, *, with_colour: bool) -> None:
        # Rich needs room for the indent and a letter.
        width = max(shutil.get_terminal_size((_UNLIMITED, 0)).columns, _INDENT + 2)
        self._console = Console(
            file=io.StringIO(),
            width=width,
            force_terminal=with_colour,
            color_system="standard" if with_colour else None,
            legacy_windows=False,
        )
        self._parts: list[str] = []

    def show(
        self,
        status: ProjectionStatus,
        places: Sequence[FailedPlace] | None,
        *,
        with_places: bool,
    ) -> None:
        """Add a projection: its state in a word, the cause below, then the rest."""
        style = _STATE_STYLES.get(status.state, "")
        head = Text(overflow="fold")
        head.append(status.state, style=style)
        head.append(f" {shown(status.projection)}", style="bold")
        self._add(head, 0)
        if status.error:
            self._add(Text(status.error, style=style), _INDENT)
        if with_places:
            self._traceback(status.traceback)
        for line in status.advice:
            self._add(Text(line), _INDENT)
        self._add(Text(", ".join(_facts(status)), style="dim"), _INDENT)
        for each in places or ():
            self._add(Text(each.text, style="red"), _INDENT)
            self._traceback(each.traceback)

    def lines(self) -> list[str]:
        """Return all lines, none wider than the terminal."""
        return [line.rstrip() for part in self._parts for line in part.splitlines()]

    def _traceback(self, text: str) -> None:
        for line in text.splitlines():
            bare = line.lstrip(" ")
            self._add(Text(bare), 2 * _INDENT + len(line) - len(bare))

    def _add(self, text: Text, indent: int) -> None:
        text.overflow = "fold"
        # Of a narrow terminal some is left for the text.
        indent = min(indent, self._console.width // 2)
        with self._console.capture() as capture:
            self._console.print(Padding(text, (0, 0, 0, indent), expand=False))
        self._parts.append(capture.get())


def _chosen(
    statuses: Sequence[ProjectionStatus], names: Sequence[str]
) -> list[ProjectionStatus]:
    known = {each.projection for each in statuses}
    for name in names:
        if name not in known:
            listed = ", ".join(sorted(map(shown, known))) or "none"
            msg = f"There is no projection {shown(name)!r}; there are: {listed}"
            raise CommandError(msg, returncode=CONFIGURATION)
    return [each for each in statuses if not names or each.projection in names]


def _facts(status: ProjectionStatus) -> Iterator[str]:
    since, moved = _time(status.state_since), _time(status.updated_at)
    if since:
        yield f"{status.state} since {since}"
    yield "no position" if status.position is None else f"position {status.position}"
    if moved:
        yield f"moved {moved}"
    yield f"application {shown(status.application)}"
    if status.database is not None:
        yield f"database {status.database}"
    if status.owner:
        yield f"owner {shown(place(status.owner))}"
    if status.attempts:
        yield f"attempts {status.attempts}"
    if status.failed_events:
        yield f"failed events {status.failed_events}"


def _as_json(status: ProjectionStatus) -> dict[str, Any]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in asdict(status).items()
    }


def _time(value: datetime | None) -> str | None:
    return None if value is None else f"{local(value):%Y-%m-%d %H:%M:%S}"
