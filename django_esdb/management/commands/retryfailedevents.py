from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from eventsourcing.persistence import PersistenceError

from django_esdb.exceptions import FailedEventError
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.management.commands._projections import (
    CONFIGURATION,
    FAILED,
    add_failed_event_arguments,
    choose_failed,
    require_migrations,
    require_valid_configuration,
)
from django_esdb.models import FailedEvent
from django_esdb.status.status import shown


class Command(BaseCommand):
    help = (
        "Processes events that were put aside again, each in a transaction, in order "
        "and with the code of today, and resumes paused projections. "
        "Exit status: 0 all were processed, 1 some failed, 2 there is no such event "
        "or something is not configured."
    )
    # They are run below, to report the first error in a line.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_failed_event_arguments(parser, "Try only the event with this number.")

    def handle(
        self, *args: Any, name: str | None, pk: int | None, **options: Any
    ) -> None:
        require_valid_configuration()
        registrations = choose_failed(name, pk)
        require_migrations(registrations)
        failed = 0
        for registration in registrations:
            try:
                outcome = retry_failed_events(registration, pk, report=self._report)
            except FailedEventError as error:
                raise CommandError(str(error), returncode=CONFIGURATION) from None
            except (PersistenceError, DatabaseError) as error:
                raise CommandError(shown(str(error)), returncode=FAILED) from None
            failed += outcome.failed
            self.stdout.write(
                f"{registration.name}: {outcome.resolved} processed, "
                f"{outcome.failed} failed again, {outcome.waiting} wait behind them"
                + ("; it was paused and is resumed" if outcome.resumed else "")
            )
        if failed:
            msg = f"{failed} events failed again"
            raise CommandError(msg, returncode=FAILED)

    def _report(self, event: FailedEvent, error: str) -> None:
        if error:
            self.stderr.write(
                self.style.ERROR(f"Event {event.pk} at {event.position}: {error}")
            )
