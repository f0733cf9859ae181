from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import CommandError
from django.db import Error as DatabaseError

from django_esdb.exceptions import ConfigurationError
from django_esdb.management.base import CONFIGURATION, FAILED, SafeCommand
from django_esdb.management.commands._projections import (
    add_no_input_argument,
    choose,
    database_errors,
    is_confirmed,
    require_migrations,
    require_valid_configuration,
    what_is_deleted,
)
from django_esdb.rebuilding.resetting import reset_projection, what_is_made
from django_esdb.registry import Registration
from eventsourcing_eventstoredb.text import one_line


class Command(SafeCommand):
    help = (
        "Lets a projection start over: deletes the rows of its read models, its failed "
        "events and its position, in one transaction. Workers that run it need not be "
        "stopped: it starts over there by itself. The events stay in the store."
    )
    exit_statuses = {
        "0": "it starts over, or nothing was there",
        "1": "not confirmed, or a database cannot be used or refuses",
        "2": "there is no such projection, or something is not configured",
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="The projection.")
        add_no_input_argument(parser)
        parser.add_argument(
            "--with-effects",
            action="store_true",
            help="Count events as new, so that what handlers do on_live() is done once "
            "more; for another store in the place of the former one.",
        )

    def handle(self, *args: Any, name: str, interactive: bool, **options: Any) -> None:
        require_valid_configuration()
        [registration] = choose([name])
        require_migrations([registration])
        read_models = getattr(registration.view_class, "read_models", ())
        if not read_models:
            line = f"{name} declares no read_models: its rows are left as they are"
            self.stderr.write(self.style.WARNING(line))
        with database_errors():
            made = self._made(registration)
        if made is None:
            self.stdout.write(f"{name} has no position and no rows: nothing to reset")
            return
        if interactive and not is_confirmed(_warning(name, made)):
            msg = "Nothing was reset"
            raise CommandError(msg)
        self._reset(registration, with_effects=options["with_effects"])

    def _made(self, registration: Registration) -> Counter[str] | None:
        try:
            return what_is_made(registration)
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=CONFIGURATION) from error

    def _reset(self, registration: Registration, *, with_effects: bool) -> None:
        try:
            deleted = reset_projection(registration, with_effects=with_effects)
        except DatabaseError as error:
            msg = f"{registration.name} was not reset: {one_line(error)}"
            raise CommandError(msg, returncode=FAILED) from error
        counts = [f"{label} {count}" for label, count in deleted.items() if count]
        said = f"deleted {', '.join(counts)}" if counts else "no row was there"
        self.stdout.write(f"{registration.name} starts over; {said}")


def _warning(name: str, made: Counter[str]) -> str:
    said = what_is_deleted(made)
    if not said:
        return f"{name} will start over from the first event."
    return f"{name} will start over from the first event; {said} will be deleted."
