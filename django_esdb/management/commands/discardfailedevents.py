from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_esdb.exceptions import FailedEventError
from django_esdb.failures.retrying import discard_failed_events
from django_esdb.management.commands._projections import (
    CONFIGURATION,
    add_failed_event_arguments,
    add_no_input_argument,
    choose_failed,
    is_confirmed,
    require_migrations,
    require_valid_configuration,
)


class Command(BaseCommand):
    help = (
        "Leaves out events that were put aside, for good: the read models never see "
        "them. The events themselves stay in the store."
    )
    # They are run below, to report the first error in a line.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_failed_event_arguments(parser, "Discard only the event with this number.")
        add_no_input_argument(parser)

    def handle(
        self,
        *args: Any,
        name: str | None,
        pk: int | None,
        interactive: bool,
        **options: Any,
    ) -> None:
        require_valid_configuration()
        registrations = choose_failed(name, pk)
        require_migrations(registrations)
        warning = "The read models will never see these events."
        if interactive and not is_confirmed(warning):
            msg = "Nothing was discarded"
            raise CommandError(msg)
        for registration in registrations:
            try:
                count = discard_failed_events(registration, pk)
            except FailedEventError as error:
                raise CommandError(str(error), returncode=CONFIGURATION) from error
            self.stdout.write(f"{registration.name}: {count} discarded")
