from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from threading import Event
from typing import Any

from django.core.management.base import CommandError, no_translations

from django_esdb.debugging.dry_run import DryRun, EventRun
from django_esdb.debugging.events import Choice
from django_esdb.debugging.time_limits import TimeLimit
from django_esdb.exceptions import DryRunError
from django_esdb.management.base import CONFIGURATION, FAILED, SafeCommand
from django_esdb.management.commands._applications import store_errors
from django_esdb.management.commands._event_runs import (
    as_json,
    heading_of,
    lines_of,
    table_of,
)
from django_esdb.management.commands._projections import (
    choose,
    database_errors,
    require_migrations,
    require_valid_configuration,
    seconds,
)
from django_esdb.runner.time_limits.endings import (
    done_within,
    end_process,
    write_to_stderr,
)
from django_esdb.runner.worker import HANG_STATUS
from eventsourcing_eventstoredb.text import counted, quoted

_SECONDS = 5.0
# For a thread that is told that its time is over to say so itself.
_GRACE_SECONDS = 2.0
_MOST = 1_000


class Command(SafeCommand):
    help = (
        "Shows what a projection's handlers do about an aggregate's events, event by "
        "event: which rows they change, how long they take, and where they fail. They "
        "run on the real tables, in a transaction that is rolled back."
    )
    exit_statuses = {
        "0": "shown, and no event has failed",
        "1": "an event has failed, the time was over, or the event store or a "
        "database cannot be used",
        "2": "there is no such projection, aggregate or event, or something is not "
        "configured",
        "5": "an event hangs: the process ends, and what it did is undone",
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="PROJECTION", help="The projection.")
        parser.add_argument(
            "--aggregate", default="", metavar="ID", help="Whose events."
        )
        parser.add_argument(
            "--from",
            type=_position,
            dest="start",
            metavar="P",
            help="Begin with the event at this position, or the next one behind it.",
        )
        parser.add_argument(
            "--event",
            type=_position,
            dest="only",
            metavar="P",
            help="Take only the event at this position; it needs no --aggregate.",
        )
        parser.add_argument(
            "--anew",
            action="store_true",
            help=(
                "Begin without the aggregate's rows, with its first event, as "
                "rebuildprojection --only does; they are back afterwards."
            ),
        )
        parser.add_argument(
            "--timeout",
            type=seconds,
            default=_SECONDS,
            metavar="SECONDS",
            help=(
                "How long the transaction may take, in which other processes wait for "
                f"the projection's row (default: {_SECONDS:g})."
            ),
        )
        parser.add_argument("--json", action="store_true", help="Print a JSON list.")

    # Commands say everything in English, so that it can be looked up.
    @no_translations
    def handle(
        self,
        *args: Any,
        name: str,
        aggregate: str,
        start: int | None,
        only: int | None,
        timeout: float,
        anew: bool,
        **options: Any,
    ) -> None:
        require_valid_configuration()
        (registration,) = choose([name])
        require_migrations([registration])
        if not aggregate and only is None:
            msg = "Say which events: --aggregate ID, or --event POSITION"
            raise CommandError(msg, returncode=CONFIGURATION)
        if start is not None and only is not None:
            msg = "Give --from or --event, not both"
            raise CommandError(msg, returncode=CONFIGURATION)
        if anew and (start is not None or only is not None):
            msg = "--anew begins with the first event: give neither --from nor --event"
            raise CommandError(msg, returncode=CONFIGURATION)
        choice = Choice(aggregate, start, only, _MOST)
        has_ended = Event()
        limit = TimeLimit(timeout, lambda: self._end_what_hangs(name, has_ended))
        try:
            self._show(DryRun(registration, choice, limit, anew=anew), **options)
        finally:
            has_ended.set()

    def _end_what_hangs(self, name: str, has_ended: Event) -> None:
        # Another program's process is not the command's to end.
        if not self.is_from_shell or has_ended.wait(_GRACE_SECONDS):
            return
        text = (
            f"Projection {name!r}: an event hangs; what it did is undone, and the "
            "process ends"
        )
        done_within(_GRACE_SECONDS, lambda: write_to_stderr(text))
        end_process(HANG_STATUS)

    def _show(self, run: DryRun, **options: Any) -> None:
        is_json = options["json"]
        runs = []
        application_class = run.registration.application_class
        try:
            with store_errors(application_class), database_errors():
                for each in run.run():
                    runs.append(each)
                    if not is_json:
                        self._write(run, each, **options)
        except DryRunError as error:
            status = FAILED if run.count else CONFIGURATION
            raise CommandError(str(error), returncode=status) from error
        if is_json:
            self.stdout.write(json.dumps([as_json(each) for each in runs], indent=2))
        self._write_end(run, len(runs), is_json=is_json)
        if failed := sum(1 for each in runs if each.error):
            events = counted(len(runs), "event", "events")
            raise CommandError(f"Failed: {failed} of {events}", returncode=FAILED)

    def _write(self, run: DryRun, each: EventRun, **options: Any) -> None:
        style = self.style
        self.stdout.write(style.MIGRATE_HEADING(heading_of(each)))
        was_processed = run.processed is not None and each.position <= run.processed
        if was_processed and not run.anew:
            self.stdout.write("    processed before: its rows may have it already")
        if self.stdout.isatty() or options["force_color"]:
            has_colours = style.ERROR("x") != "x"
            lines = table_of(each, with_colour=has_colours)
        else:
            lines = list(lines_of(each))
        for line in lines:
            self.stdout.write(line)
        if each.error:
            self.stdout.write(style.ERROR(f"    {each.error}"))
            for line in each.traceback.splitlines():
                self.stdout.write(f"      {line}")
        elif not each.changes:
            self.stdout.write("    changes nothing")
        for note in each.notes:
            self.stdout.write(style.WARNING(f"    note: {note}"))
        # What reads a pipe is to see it, should the next one hang.
        self.stdout.flush()

    def _write_end(self, run: DryRun, count: int, *, is_json: bool) -> None:
        if run.has_more:
            self.stderr.write(
                f"There are more events: these are the first {count}; "
                "continue with --from"
            )
        if is_json:
            return
        if not count:
            self.stdout.write("None of the aggregate's events is the projection's.")
        else:
            self.stdout.write("All of this is undone.")


def _position(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        msg = f"{quoted(text)} is no position"
        raise ArgumentTypeError(msg)
    return int(text)
