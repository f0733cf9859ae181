from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.core.management.base import CommandError

from django_esdb.exceptions import LeaseHeldError, LeaseLostError, ProjectionError
from django_esdb.management.base import CONFIGURATION, FAILED, LEASE, SafeCommand
from django_esdb.management.commands._metrics import metrics_served
from django_esdb.management.commands._projection_progress import projections_shown
from django_esdb.management.commands._projections import (
    choose,
    database_errors,
    positive,
    put_aside,
    require_migrations,
    require_valid_configuration,
    seconds,
    stale,
    topic_warnings,
)
from django_esdb.management.commands._shutdown import add_shutdown_argument
from django_esdb.management.commands._told import Told
from django_esdb.management.progress import add_progress_argument, shown_progress
from django_esdb.management.reloading import Reloader
from django_esdb.rebuilding.beside.building import finish_ended
from django_esdb.registry import Registration
from django_esdb.runner.worker import Options, Worker
from django_esdb.tracebacks import masked_traceback

# This machine only.
_METRICS_HOST = "127.0.0.1"
# For an event store that is started with it.
_WAIT_SECONDS = 30.0


class Command(SafeCommand):
    help = (
        "Runs projections: processes the events of their applications into read "
        "models, from where each one was, until stopped by SIGTERM, SIGINT or SIGHUP. "
        "Each projection runs in one process; others stand by."
    )
    exit_statuses = {
        "0": "stopped by a signal, or caught up",
        "1": "a projection failed, or was stopped before it had caught up "
        "(--until-caught-up), or a database cannot be used",
        "2": "there is no such projection, or something is not configured",
        "3": "another process runs a projection, or has taken it over (--exclusive)",
        "4": "not stopped in time: the batches that were under way are undone",
        "5": "an event took longer than ESDB_EVENT_SECONDS: batches are undone",
        "128 + N": "ended by a second signal N: batches are undone",
    }

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
            help="End when all events that are recorded by now are processed. The exit "
            "status is 0 also where some are put aside, whose number is said then.",
        )
        parser.add_argument(
            "--batch-size",
            type=positive,
            metavar="N",
            help="Most events in a transaction (default: the setting ESDB_BATCH_SIZE, "
            "and ESDB_REPLAY_BATCH_SIZE while events are processed once more).",
        )
        parser.add_argument(
            "--exclusive",
            action="store_true",
            help="Fail, instead of standing by, where another process runs it.",
        )
        parser.add_argument(
            "--fail-fast",
            action="store_true",
            help="End as soon as a projection fails, instead of pausing it.",
        )
        parser.add_argument(
            "--wait",
            type=seconds,
            default=_WAIT_SECONDS,
            metavar="SECONDS",
            help="How long to wait for an event store that is not there yet "
            "(default: %(default)g).",
        )
        add_shutdown_argument(parser)
        parser.add_argument(
            "--metrics-port",
            type=_port,
            metavar="PORT",
            help="Serve metrics for Prometheus there; 0 for a port that is free.",
        )
        parser.add_argument(
            "--metrics-host",
            metavar="HOST",
            help=f"Address to serve metrics on (default: {_METRICS_HOST}).",
        )
        add_progress_argument(parser)
        parser.add_argument(
            "--reload",
            action="store_true",
            help="Restart whenever code changes, for development.",
        )

    def handle(self, *args: Any, reload: bool, **options: Any) -> None:
        if not reload:
            self._run(**options)
            return
        reloader = Reloader(options["shutdown_timeout"])
        reloader.run(partial(self._run_for_reloader, reloader, **options))

    def _run_for_reloader(self, reloader: Reloader, **options: Any) -> None:
        try:
            self._run(created=reloader.follow, **options)
        except CommandError as error:
            # The next change of code may fix it.
            self.stderr.write(self.style.ERROR(str(error)))
            if options["traceback"]:
                self.stderr.write(masked_traceback(error))

    def _run(
        self,
        *,
        names: list[str],
        until_caught_up: bool,
        batch_size: int | None,
        exclusive: bool,
        fail_fast: bool,
        wait: float,
        shutdown_timeout: float,
        metrics_port: int | None = None,
        metrics_host: str | None = None,
        created: Any = lambda worker: None,
        **options: Any,
    ) -> None:
        if metrics_host is not None and metrics_port is None:
            msg = "--metrics-host needs --metrics-port: else no metrics are served"
            raise CommandError(msg, returncode=CONFIGURATION)
        require_valid_configuration()
        registrations = choose(names)
        require_migrations(registrations)
        with database_errors():
            for name in finish_ended(registrations):
                self.stdout.write(f"Dropped what a former rebuild of {name} has left")
        for line in [*topic_warnings(registrations), *stale()]:
            self.stderr.write(self.style.WARNING(line))
        worker = Worker(
            registrations,
            Options(
                until_caught_up=until_caught_up,
                batch_size=batch_size,
                exclusive=exclusive,
                fail_fast=fail_fast,
                wait=wait,
                shutdown_timeout=shutdown_timeout,
            ),
        )
        created(worker)
        self.expect_many_objects()
        with shown_progress(
            self.stdout, options, self.stderr, is_wanted=until_caught_up
        ) as shown:
            with (
                projections_shown(shown, "Catching up", registrations),
                Told(shown, self.style).of(registrations),
                metrics_served(
                    registrations,
                    _METRICS_HOST if metrics_host is None else metrics_host,
                    metrics_port,
                    shown.say,
                ),
            ):
                errors = worker.run()
            if not errors and not until_caught_up:
                shown.say("Stopped")
            elif not errors and not worker.was_stopped:
                shown.say(_caught_up(registrations))
        if errors:
            raise _command_error(errors, len(registrations)) from errors[0]
        if until_caught_up and worker.was_stopped:
            msg = "Stopped before all was known to be caught up"
            raise CommandError(msg, returncode=FAILED)


def _command_error(errors: list[ProjectionError], count: int) -> CommandError:
    are_leases = all(
        isinstance(error, LeaseHeldError | LeaseLostError) for error in errors
    )
    text = (
        str(errors[0]) if count == 1 else f"{len(errors)} of {count} projections failed"
    )
    return CommandError(text, returncode=LEASE if are_leases else FAILED)


def _caught_up(registrations: Sequence[Registration]) -> str:
    counts = put_aside(registrations)
    if not counts:
        return "All caught up"
    said = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"Caught up, with failed events put aside: {said}"


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise ValueError
    return value


# What argparse calls the value in its message.
_port.__name__ = "port"
