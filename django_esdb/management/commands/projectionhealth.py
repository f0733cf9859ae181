from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError, no_translations
from django.db import Error as DatabaseError

from django_esdb.conf import settings
from django_esdb.db.errors import is_transient
from django_esdb.management.base import FAILED, SafeCommand
from django_esdb.management.commands._projections import (
    choose,
    database_errors,
    require_migrations,
    seconds,
)
from django_esdb.status.health import projection_health
from django_esdb.status.status import shown


class Command(SafeCommand):
    help = (
        "Tells whether projections are healthy, for probes: whether each has a live "
        "owner, and is not far behind or moves. Asks the database with one query, and "
        "not the event store."
    )
    exit_statuses = {
        "0": "all are healthy",
        "1": "one is not, which a line says, or a database cannot be used",
        "2": "there is no such projection, or something is not configured",
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "names",
            nargs="*",
            metavar="NAME",
            help="Projections to look at; all that are registered if there is none.",
        )
        parser.add_argument(
            "--max-behind",
            type=seconds,
            metavar="SECONDS",
            help="How far behind a projection may be that does not move (default: the "
            "setting ESDB_MAX_BEHIND).",
        )
        parser.add_argument(
            "--max-idle",
            type=seconds,
            metavar="SECONDS",
            help="How long ago one that is further behind may have moved last "
            "(default: the setting ESDB_MAX_IDLE).",
        )
        parser.add_argument(
            "--ready",
            action="store_true",
            help="Fail also while the event store cannot be asked, for which a restart "
            "would be no remedy.",
        )

    # Commands say everything in English, so that it can be looked up.
    @no_translations
    def handle(
        self,
        *args: Any,
        names: list[str],
        max_behind: float | None,
        max_idle: float | None,
        ready: bool,
        **options: Any,
    ) -> None:
        registrations = choose(names)
        chosen = [each.name for each in registrations]
        if max_behind is None:
            max_behind = settings.ESDB_MAX_BEHIND
        if max_idle is None:
            max_idle = settings.ESDB_MAX_IDLE
        with database_errors():
            try:
                found = projection_health(
                    chosen, max_behind=max_behind, max_idle=max_idle
                )
            except DatabaseError as error:
                if not is_transient(error):
                    # Tables that are not there have a reason that can be told.
                    require_migrations(registrations)
                raise
        problems = [
            f"{shown(each.status.projection)} is not healthy: {problem}"
            for each in found
            if (problem := each.unready if ready else each.problem)
        ]
        if problems:
            raise CommandError("\n".join(problems), returncode=FAILED)
        self.stdout.write(f"Healthy: {', '.join(map(shown, chosen))}")
