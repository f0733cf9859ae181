from __future__ import annotations

import json
import shutil
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, no_translations
from django.db import connections
from django.utils import timezone

from django_esdb.management.base import CONFIGURATION, FAILED, SafeCommand
from django_esdb.management.commands._projection_table import lines_of
from django_esdb.management.commands._projections import (
    database_errors,
    require_migrations,
    require_valid_configuration,
)
from django_esdb.registered_names import build_hint
from django_esdb.registry import registry
from django_esdb.status.builds import BuildStatus
from django_esdb.status.failed_places import failed_places
from django_esdb.status.status import (
    ProjectionStatus,
    local,
    projection_statuses,
    shown,
)
from eventsourcing_eventstoredb.text import quoted

_WATCH_SECONDS = 1.0
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class Command(SafeCommand):
    help = (
        "Shows what each projection is at: how far it has got and is behind, how fast "
        "it is, who runs it, and what is wrong. Asks the database only, not the event "
        "store: workers measure that, once a second."
    )
    exit_statuses = {
        "0": "all is well, or --watch was ended by Ctrl-C",
        "1": "a projection is not well, or a database cannot be used",
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
            "--watch",
            action="store_true",
            help="Show it anew every second, until Ctrl-C.",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help="Print a JSON list instead of a table; with --watch one in each line.",
        )

    # Commands say everything in English, so that it can be looked up.
    @no_translations
    def handle(self, *args: Any, names: list[str], watch: bool, **options: Any) -> None:
        require_valid_configuration()
        require_migrations(registry)
        if watch:
            try:
                self._watch(names, **options)
            except KeyboardInterrupt:
                self.stdout.write("")
            return
        statuses = _found(names)
        for line in self._lines(statuses, names, **options):
            self.stdout.write(line)
        if unwell := [each for each in statuses if not each.is_well]:
            said = ", ".join(
                f"{shown(each.projection)} ({each.state})" for each in unwell
            )
            raise CommandError(f"Not well: {said}", returncode=FAILED)

    def _watch(self, names: Sequence[str], **options: Any) -> None:
        redraws = self.stdout.isatty() and not options["json"]
        while True:
            try:
                lines = self._lines(_found(names), names, **options, indent=None)
            except CommandError as error:
                if error.returncode == CONFIGURATION:
                    raise
                # It may be there again a second later, on another connection.
                lines = [] if options["json"] else [self.style.ERROR(str(error))]
                connections.close_all()
            if redraws:
                self._redraw(lines)
            else:
                for line in lines:
                    self.stdout.write(line)
            # What reads a pipe is to see it now.
            self.stdout.flush()
            time.sleep(_WATCH_SECONDS)

    def _redraw(self, lines: Sequence[str]) -> None:
        """Draw over what is there, as much as there is room for."""
        now = f"{local(timezone.now()):%Y-%m-%d %H:%M:%S}"
        room = max(shutil.get_terminal_size().lines - 2, 1)
        if len(lines) > room:
            left_out = len(lines) - room + 1
            lines = [*lines[: room - 1], f"({left_out} more lines: name a projection)"]
        drawn = "\n".join(f"{line}{_CLEAR_LINE}" for line in [now, *lines])
        self.stdout.write(f"{_HOME}{drawn}\n{_CLEAR_BELOW}", ending="")

    def _lines(
        self,
        statuses: Sequence[ProjectionStatus],
        names: Sequence[str],
        *,
        indent: int | None = 2,
        **options: Any,
    ) -> list[str]:
        if options["json"]:
            listed = [as_json(each) for each in statuses]
            return [json.dumps(listed, indent=indent)]
        if not statuses:
            return ["No projection is registered."]
        is_terminal = self.stdout.isatty() or options["force_color"]
        has_colours = self.style.ERROR("x") != "x"
        places = None
        if names:
            with database_errors():
                places = {each.key: failed_places(each) for each in statuses}
        return lines_of(statuses, places, with_colour=is_terminal and has_colours)


def _found(names: Sequence[str]) -> list[ProjectionStatus]:
    with database_errors():
        statuses = projection_statuses()
    known = {each.projection for each in statuses}
    for name in names:
        if name not in known:
            listed = ", ".join(sorted(map(shown, known))) or "none"
            hint = build_hint(name, known)
            msg = f"There is no projection {quoted(name)}{hint}; there are: {listed}"
            raise CommandError(msg, returncode=CONFIGURATION)
    return [each for each in statuses if not names or each.projection in names]


def as_json(status: ProjectionStatus) -> dict[str, Any]:
    """Return what is known of a projection, as JSON has it."""
    lag = status.lag
    values: dict[str, Any] = {
        "name": status.projection,
        "application": status.application,
        "database": status.database,
        "is_well": status.is_well,
        "state": status.state,
        "since": status.state_since,
        "position": status.position,
        "replay_until": status.replay_until,
        "is_rebuild_requested": status.is_rebuild_requested,
        "head": lag.head,
        "behind_events": lag.events,
        "behind_is_exact": lag.is_exact,
        "behind_seconds": lag.seconds,
        "rate": lag.rate,
        "eta_seconds": lag.eta_seconds,
        "measured_at": lag.measured_at,
        "unknown_since": lag.unknown_since,
        "failed": status.failed_events - status.waiting_events,
        "waiting": status.waiting_events,
        "skipped": status.skipped_events,
        "owner": status.owner,
        "leased_until": status.leased_until,
        "updated_at": status.updated_at,
        "error": status.error,
        "traceback": status.traceback,
        "attempts": status.attempts,
        "topics": status.topics,
        "view": status.view,
        "is_registered": status.is_registered,
        "definition_changed": status.definition_changed,
        "beside": None if status.build is None else _build_as_json(status.build),
        "advice": status.advice,
    }
    return _with_texts(values)


def _build_as_json(build: BuildStatus) -> dict[str, Any]:
    return _with_texts(
        {
            "state": build.state,
            "began_at": build.began_at,
            "ended_at": build.ended_at,
            "position": build.position,
            "target": build.target,
            "left_events": build.lag.events,
            "rate": build.lag.rate,
            "eta_seconds": build.lag.eta_seconds,
            "failed": build.failed_events,
            "owner": build.owner,
            "updated_at": build.updated_at,
            "error": build.error,
        }
    )


def _with_texts(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in values.items()
    }
