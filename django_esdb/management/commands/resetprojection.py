from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from django_esdb.exceptions import ConfigurationError
from django_esdb.management.commands._projections import (
    CONFIGURATION,
    FAILED,
    add_no_input_argument,
    choose,
    is_confirmed,
    require_migrations,
    require_valid_configuration,
)
from django_esdb.registry import Registration
from django_esdb.resetting import reset_projection
from eventsourcing_eventstoredb.text import one_line


class Command(BaseCommand):
    help = (
        "Lets a projection start over: deletes the rows of its read models, its failed "
        "events and its position, in one transaction. Workers that run it need not be "
        "stopped: it starts over there by itself. The events stay in the store."
    )
    # They are run below, to report the first error in a line.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="The projection.")
        add_no_input_argument(parser)

    def handle(self, *args: Any, name: str, interactive: bool, **options: Any) -> None:
        require_valid_configuration()
        [registration] = choose([name])
        require_migrations([registration])
        read_models = getattr(registration.view_class, "read_models", ())
        if not read_models:
            line = f"{name} declares no read_models: its rows are left as they are"
            self.stderr.write(self.style.WARNING(line))
        labels = ", ".join(model._meta.label for model in read_models) or "no model"
        warning = (
            f"All rows of {labels} and the failed events of {name} will be deleted."
        )
        if interactive and not is_confirmed(warning):
            msg = "Nothing was reset"
            raise CommandError(msg)
        self._reset(registration)

    def _reset(self, registration: Registration) -> None:
        try:
            deleted = reset_projection(registration)
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=CONFIGURATION) from error
        except DatabaseError as error:
            msg = f"{registration.name} was not reset: {one_line(error)}"
            raise CommandError(msg, returncode=FAILED) from error
        counts = [f"{label} {count}" for label, count in deleted.items() if count]
        said = f"deleted {', '.join(counts)}" if counts else "no row was there"
        self.stdout.write(f"{registration.name} starts over; {said}")
