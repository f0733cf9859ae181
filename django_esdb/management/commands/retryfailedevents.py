from __future__ import annotations

from argparse import ArgumentParser
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.core.management.base import CommandError
from django.db import Error as DatabaseError
from eventsourcing.persistence import PersistenceError

from django_esdb.applications.store_address import store_hint
from django_esdb.exceptions import FailedEventError
from django_esdb.failures.attempts import Outcome, RetryClock
from django_esdb.failures.resuming import TAKEOVER_SECONDS, is_run
from django_esdb.failures.retrying import retry_failed_events
from django_esdb.management.base import CONFIGURATION, FAILED, SafeCommand
from django_esdb.management.commands._projections import (
    add_failed_event_arguments,
    choose_failed,
    require_valid_configuration,
)
from django_esdb.models import FailedEvent
from django_esdb.registry import Registration
from django_esdb.runner.hanging_retries import process_ends_if_one_hangs
from django_esdb.status.status import shown
from eventsourcing_eventstoredb.text import counted


class Command(SafeCommand):
    help = (
        "Processes events that were put aside again, each in a transaction, in order "
        "and with the code of today, and resumes paused projections. One that a user "
        "has paused is left alone unless it is named."
    )
    exit_statuses = {
        "0": "all were processed, or there was none",
        "1": "some failed again, or the event store or a database cannot be used",
        "2": "there is no such event or projection, or something is not configured",
        "5": "an event took longer than ESDB_EVENT_SECONDS: it stays put aside",
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_failed_event_arguments(parser, "Try only the event with this number.")

    def handle(
        self, *args: Any, name: str | None, pk: int | None, **options: Any
    ) -> None:
        require_valid_configuration()
        registrations = choose_failed(name, pk)
        failed = 0
        broken_off = 0
        for registration in registrations:
            try:
                if name is None and pk is None and _is_paused_by_hand(registration):
                    self.stdout.write(
                        f"{registration.name}: paused by hand, so it is left alone; "
                        f"name it to have its events tried again and it resumed"
                    )
                    continue
                outcome = self._retry(registration, pk)
            except FailedEventError as error:
                raise CommandError(str(error), returncode=CONFIGURATION) from error
            except (PersistenceError, DatabaseError) as error:
                # Others may have another database or event store.
                text = f"{registration.name}: broken off: {shown(str(error))}"
                text += store_hint(registration.application_class, error)
                self.stderr.write(self.style.ERROR(text))
                broken_off += 1
                continue
            failed += outcome.failed
            self.stdout.write(
                f"{registration.name}: {outcome.resolved} processed, "
                f"{outcome.failed} failed again, "
                f"{_waiting(outcome.waiting)} for an earlier one"
                + self._who_runs(registration, outcome)
            )
        if broken_off:
            of = counted(len(registrations), "projection", "projections")
            msg = f"Broken off: {broken_off} of {of}"
            raise CommandError(msg, returncode=FAILED)
        if failed:
            msg = f"{counted(failed, 'event', 'events')} failed again"
            raise CommandError(msg, returncode=FAILED)

    def _retry(self, registration: Registration, pk: int | None) -> Outcome:
        watched: AbstractContextManager[RetryClock | None] = nullcontext()
        # Another program's process is not the command's to end.
        if self.is_from_shell:
            watched = process_ends_if_one_hangs(registration)
        with watched as clock:
            return retry_failed_events(
                registration, pk, report=self._report, clock=clock
            )

    def _who_runs(self, registration: Registration, outcome: Outcome) -> str:
        seconds = TAKEOVER_SECONDS if outcome.resumed else 0
        runs = is_run(registration.tracked(), seconds)
        if outcome.resumed and runs:
            return "; it was paused and is resumed"
        said = "; it was paused" if outcome.resumed else ""
        return said if runs else f"{said}; no process runs it: start runprojections"

    def _report(self, event: FailedEvent, error: str) -> None:
        if error:
            self.stderr.write(
                self.style.ERROR(f"Event {event.pk} at {event.position}: {error}")
            )


def _is_paused_by_hand(registration: Registration) -> bool:
    row = registration.tracked().queryset().first()
    return row is not None and row.is_paused_by_hand


def _waiting(count: int) -> str:
    return counted(count, "waits", "wait")
