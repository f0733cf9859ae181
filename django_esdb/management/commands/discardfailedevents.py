from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from django_esdb.exceptions import FailedEventError
from django_esdb.failures.discarding import count_failed_events, discard_failed_events
from django_esdb.management.base import CONFIGURATION, SafeCommand
from django_esdb.management.commands._projections import (
    add_failed_event_arguments,
    add_no_input_argument,
    choose_failed,
    database_errors,
    is_confirmed,
    require_valid_configuration,
)
from django_esdb.registry import Registration
from eventsourcing_eventstoredb.text import counted


class Command(SafeCommand):
    help = (
        "Leaves out events that were put aside, for good: the read models never see "
        "them. The events themselves stay in the store."
    )
    exit_statuses = {
        "0": "discarded, or there was none",
        "1": "not confirmed, or a database cannot be used",
        "2": "there is no such event or projection, or something is not configured",
    }

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
        try:
            with database_errors():
                self._discard(registrations, pk, interactive)
        except FailedEventError as error:
            raise CommandError(str(error), returncode=CONFIGURATION) from error

    def _discard(
        self, registrations: list[Registration], pk: int | None, interactive: bool
    ) -> None:
        counts = {each.name: count_failed_events(each, pk) for each in registrations}
        if not any(counts.values()):
            self.stdout.write("There is no failed event to discard")
            return
        if interactive and not is_confirmed(_warning(counts)):
            msg = "Nothing was discarded"
            raise CommandError(msg)
        for registration in registrations:
            if counts[registration.name]:
                count = discard_failed_events(registration, pk)
                self.stdout.write(f"{registration.name}: {count} discarded")


def _warning(counts: dict[str, int]) -> str:
    total = sum(counts.values())
    of = ", ".join(
        name if count == total else f"{name} {count}"
        for name, count in counts.items()
        if count
    )
    return (
        f"{counted(total, 'failed event', 'failed events')} of {of} will be discarded: "
        f"the read models will never see {'it' if total == 1 else 'them'}."
    )
