from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_esdb.exceptions import ProjectionError
from django_esdb.management.commands._projections import (
    FAILED,
    choose,
    require_migrations,
    require_valid_configuration,
)
from django_esdb.registry import Registration


class Command(BaseCommand):
    help = (
        "Runs projections: processes the events of their applications into read "
        "models, from where each one was, until stopped by SIGTERM or SIGINT. "
        "Exit status: 0 stopped or caught up, 1 a projection failed, "
        "2 something is not configured."
    )
    # They are run below, to report the first error in a line.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "names",
            nargs="*",
            metavar="NAME",
            help="Projections to run; all that are registered if there is none.",
        )
        parser.add_argument(
            "--until-caught-up",
            action="store_true",
            help="End when all events that are recorded by now are processed.",
        )

        parser.add_argument(
            "--batch-size",
            type=_positive,
            metavar="N",
            help="Most events in a transaction (default: the setting ESDB_BATCH_SIZE).",
        )

    def handle(
        self,
        *args: Any,
        names: list[str],
        until_caught_up: bool,
        batch_size: int | None,
        **options: Any,
    ) -> None:
        require_valid_configuration()
        registrations = choose(names)
        require_migrations(registrations)
        # Loads gRPC, which what cannot run need not wait for.
        from django_esdb.runner import run_projections

        errors = run_projections(
            registrations,
            until_caught_up=until_caught_up,
            batch_size=batch_size,
            started=self._started,
            failed=self._failed if len(registrations) > 1 else _ignore,
        )
        if len(registrations) > 1 and errors:
            msg = f"{len(errors)} of {len(registrations)} projections failed"
            raise CommandError(msg, returncode=FAILED)
        if errors:
            raise CommandError(str(errors[0]), returncode=FAILED)
        self._say("All caught up" if until_caught_up else "Stopped")

    def _started(self, registration: Registration, position: int | None) -> None:
        where = "the beginning" if position is None else f"position {position}"
        self._say(
            f"Running {registration.name} on {registration.application_name} "
            f"from {where}"
        )

    def _failed(self, registration: Registration, error: ProjectionError) -> None:
        self.stderr.write(self.style.ERROR(str(error)))

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        # Whoever watches the output of a service reads a pipe.
        self.stdout.flush()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


# What argparse calls the value in its message.
_positive.__name__ = "number"


def _ignore(registration: Registration, error: ProjectionError) -> None:
    pass
