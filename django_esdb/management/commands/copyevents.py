from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from django.core.management.base import CommandError, CommandParser, no_translations
from eventsourcing.application import Application

from django_esdb.applications.shared import from_leader, make_application
from django_esdb.conf import build_env
from django_esdb.copying.copier import Outcome, copy_events
from django_esdb.copying.source import opened_source
from django_esdb.management.base import CONFIGURATION, FAILED, SafeCommand
from django_esdb.management.commands._applications import (
    add_application_argument,
    choose_application,
    store_errors,
)
from django_esdb.management.commands._projections import require_valid_configuration
from django_esdb.management.progress import add_progress_argument, shown_progress
from django_esdb.masking import STARS
from eventsourcing_eventstoredb.copying.copies import CopyError
from eventsourcing_eventstoredb.text import counted, one_line

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
# What follows a name may be a password, wherever it stands.
_VALUES = re.compile(r"([A-Za-z_][A-Za-z0-9_]*=)\S+")


class Command(SafeCommand):
    help = (
        "Copies the events and snapshots of an application from another store into "
        "EventStoreDB, and checks them. What is there is never overwritten, and the "
        "same command continues where it was interrupted."
    )
    exit_statuses = {
        "0": "all is there and checked, or could be copied (--dry-run)",
        "1": "a store cannot be used, or they differ: maybe a part was copied",
        "2": "there is no such application or source, or something is not configured",
    }

    def create_parser(
        self, prog_name: str, subcommand: str, **kwargs: Any
    ) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        report = parser.error

        def error(message: str) -> Any:
            report(_VALUES.sub(rf"\1{STARS}", message))

        # Says what it does not understand, with its value.
        parser.error = error  # type: ignore[method-assign]
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_application_argument(parser)
        parser.add_argument(
            "--from",
            nargs="+",
            action="extend",
            required=True,
            dest="source",
            metavar="NAME=VALUE",
            help=(
                "The environment that the application had: PERSISTENCE_MODULE, such "
                "as eventsourcing.sqlite, and what that module asks for. What is "
                "secret is better set in the process's environment."
            ),
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="Read and compare, and say what would be copied; write nothing.",
        )
        add_progress_argument(parser)

    # Commands say everything in English, so that it can be looked up.
    @no_translations
    def handle(
        self, *args: Any, name: str | None, source: Sequence[str], **options: Any
    ) -> None:
        given = _assignments(source)
        if name is not None and "=" in name:
            msg = "Name the application before --from, whose values follow it"
            raise CommandError(msg, returncode=CONFIGURATION)
        require_valid_configuration()
        application_class = choose_application(name)
        is_silent = options["verbosity"] == 0
        try:
            with (
                store_errors(application_class),
                _target(application_class) as target,
                opened_source(application_class, given) as opened,
                shown_progress(self.stdout, options, self.stderr) as shown,
            ):
                outcome = copy_events(
                    opened, target, is_dry_run=options["dry_run"], report=shown.report
                )
        except CopyError as error:
            raise CommandError(one_line(error), returncode=FAILED) from error
        except KeyboardInterrupt:
            msg = "Interrupted; the same command continues from there"
            raise CommandError(msg, returncode=FAILED) from None
        if not is_silent:
            for line in _lines(outcome, is_dry_run=options["dry_run"]):
                self.stdout.write(line)


@contextmanager
def _target(
    application_class: type[Application[Any]],
) -> Iterator[Application[Any]]:
    # What was just written is read again, which followers may not have yet.
    env = from_leader(application_class, build_env(application_class))
    with closing(make_application(application_class, env)) as target:
        yield target


def _assignments(texts: Sequence[str]) -> dict[str, str]:
    given = {}
    for number, text in enumerate(texts, start=1):
        match = _ASSIGNMENT.fullmatch(text)
        if match is None:
            # Not shown: it may be a part of a password.
            msg = f"Value {number} of --from is not of the form NAME=VALUE"
            raise CommandError(msg, returncode=CONFIGURATION)
        given[match[1]] = match[2]
    return given


def _lines(outcome: Outcome, *, is_dry_run: bool) -> Iterator[str]:
    if not outcome.events:
        yield "The source has no events"
        return
    verb = "Would copy" if is_dry_run else "Copied"
    yield (
        f"{verb} {counted(outcome.copied, 'event', 'events')}; {outcome.there} were "
        f"there already; all are of "
        f"{counted(outcome.aggregates, 'aggregate', 'aggregates')}"
    )
    if outcome.shifted:
        yield (
            f"  {counted(outcome.shifted, 'event has', 'events have')} another version "
            "in EventStoreDB, since aggregates begin at another one there"
        )
    snapshots = outcome.snapshots
    if outcome.no_snapshots:
        yield f"No snapshots were found: {outcome.no_snapshots}"
    else:
        left_out = (
            f"; {snapshots.superseded} are not needed, since later ones are there"
            if snapshots.superseded
            else ""
        )
        yield (
            f"{verb} {counted(snapshots.copied, 'snapshot', 'snapshots')}; "
            f"{snapshots.there} were there already{left_out}"
        )
    if outcome.checksum:
        yield (
            f"Checked {counted(outcome.events, 'event', 'events')} on both sides: "
            f"SHA-256 {outcome.checksum}"
        )
