from __future__ import annotations

import threading
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.dispatch import Signal
from django.utils import autoreload

from django_esdb import signals
from django_esdb.exceptions import (
    EventError,
    LeaseHeldError,
    LeaseLostError,
    MissingExtraError,
    ProjectionError,
)
from django_esdb.management.base import CONFIGURATION, FAILED, LEASE, SafeCommand
from django_esdb.management.commands._projection_progress import projections_shown
from django_esdb.management.commands._projections import (
    choose,
    positive,
    put_aside,
    require_migrations,
    require_valid_configuration,
    seconds,
    stale,
    topic_warnings,
)
from django_esdb.management.progress import (
    Shown,
    add_progress_argument,
    shown_progress,
)
from django_esdb.registry import Registration
from django_esdb.runner.worker import Options, Worker
from django_esdb.tracebacks import masked_traceback
from eventsourcing_eventstoredb.text import one_line

# Under the ten seconds after which containers are killed.
_SHUTDOWN_SECONDS = 8.0
# For an event store that is started with it.
_WAIT_SECONDS = 30.0


class Command(SafeCommand):
    help = (
        "Runs projections: processes the events of their applications into read "
        "models, from where each one was, until stopped by SIGTERM or SIGINT. "
        "Each projection runs in one process; others stand by."
    )
    exit_statuses = {
        "0": "stopped by a signal, or caught up",
        "1": "a projection failed, or a database cannot be used",
        "2": "there is no such projection, or something is not configured",
        "3": "another process runs a projection, or has taken it over (--exclusive)",
        "4": "not stopped in time: the batches that were under way are undone",
        "5": "an event took longer than ESDB_EVENT_SECONDS: batches are undone",
        "128 + N": "ended by a second signal N: batches are undone",
    }

    _shown: Shown | None = None

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
            help="Most events in a transaction (default: the setting ESDB_BATCH_SIZE).",
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
        parser.add_argument(
            "--shutdown-timeout",
            type=seconds,
            default=_SHUTDOWN_SECONDS,
            metavar="SECONDS",
            help="Longest that stopping may take; then the batch under way is undone "
            "(default: %(default)g).",
        )
        parser.add_argument(
            "--metrics-port",
            type=_port,
            metavar="PORT",
            help="Serve metrics for Prometheus there; 0 for a port that is free.",
        )
        parser.add_argument(
            "--metrics-host",
            default="127.0.0.1",
            metavar="HOST",
            help="Address to serve metrics on (default: %(default)s).",
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
        reloader = _Reloader(options["shutdown_timeout"])
        try:
            autoreload.run_with_reloader(
                partial(self._run_for_reloader, reloader, **options)
            )
        finally:
            reloader.stop()

    def _run_for_reloader(self, reloader: _Reloader, **options: Any) -> None:
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
        metrics_host: str = "",
        created: Any = lambda worker: None,
        **options: Any,
    ) -> None:
        require_valid_configuration()
        registrations = choose(names)
        require_migrations(registrations)
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
        self.leave_what_is_loaded()
        with (
            self._progress(registrations, options, is_wanted=until_caught_up),
            self._told(registrations),
            self._measured(registrations, metrics_host, metrics_port),
        ):
            errors = worker.run()
        if errors:
            raise _command_error(errors, len(registrations)) from errors[0]
        self._say(_caught_up(registrations) if until_caught_up else "Stopped")

    @contextmanager
    def _progress(
        self,
        registrations: Sequence[Registration],
        options: Mapping[str, Any],
        *,
        is_wanted: bool,
    ) -> Iterator[None]:
        """Show how far these projections are while the block runs."""
        with shown_progress(self.stdout, options, is_wanted=is_wanted) as shown:
            self._shown = shown
            try:
                with projections_shown(shown, "Catching up", registrations):
                    yield
            finally:
                self._shown = None

    @contextmanager
    def _told(self, registrations: Sequence[Registration]) -> Iterator[None]:
        """Print what happens to these projections while the block runs."""
        receivers: list[tuple[Signal, Callable[..., None]]] = [
            (signals.projection_started, self._started),
            (signals.standing_by, self._standing_by),
            (signals.projection_paused, self._paused),
        ]
        if len(registrations) > 1:
            # Of a single one it is the command's error.
            receivers.append((signals.projection_failed, self._failed))
        senders = [registration.projection_class for registration in registrations]
        for signal, receiver in receivers:
            for sender in senders:
                signal.connect(receiver, sender=sender)
        try:
            yield
        finally:
            for signal, receiver in receivers:
                for sender in senders:
                    signal.disconnect(receiver, sender=sender)

    @contextmanager
    def _measured(
        self, registrations: Sequence[Registration], host: str, port: int | None
    ) -> Iterator[None]:
        """Serve metrics of these projections while the block runs, if asked to."""
        if port is None:
            yield
            return
        try:
            # An extra, which most do without.
            from django_esdb.contrib.prometheus.server import MetricsServer
        except MissingExtraError as error:
            raise CommandError(str(error), returncode=CONFIGURATION) from None
        where = f"[{host}]" if ":" in host else host
        try:
            server = MetricsServer(registrations, host=host, port=port)
        except OSError as error:
            msg = (
                f"Metrics cannot be served on {where}:{port}: "
                f"{error.strerror or one_line(error)}; choose another --metrics-port"
            )
            raise CommandError(msg, returncode=CONFIGURATION) from None
        self._say(f"Metrics at http://{where}:{server.port}/metrics")
        try:
            yield
        finally:
            server.close()

    def _started(
        self, *, projection: str, application: str, position: int | None, **kwargs: Any
    ) -> None:
        where = "the beginning" if position is None else f"position {position}"
        self._say(f"Running {projection} on {application} from {where}")

    def _standing_by(
        self,
        *,
        projection: str,
        owner: str,
        reason: str,
        is_paused: bool,
        **kwargs: Any,
    ) -> None:
        if owner:
            self._say(f"Standing by for {projection}, which {owner} runs")
        elif not is_paused:
            self._say(f"Standing by with {projection}: {reason}")

    def _paused(self, *, projection: str, error: EventError, **kwargs: Any) -> None:
        self.stderr.write(
            self.style.ERROR(
                f"{error}. It is paused: fix the cause, then start again or run "
                f"manage.py retryfailedevents {projection}"
            )
        )

    def _failed(self, *, error: ProjectionError, **kwargs: Any) -> None:
        self.stderr.write(self.style.ERROR(str(error)))

    def _say(self, line: str) -> None:
        if self._shown is not None:
            self._shown.say(line)
            return
        self.stdout.write(line)
        # What watches the output of a service reads a pipe.
        self.stdout.flush()


class _Reloader:
    """Shuts a worker down cleanly before Django replaces the process."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._worker: Worker | None = None
        self._lock = threading.Lock()

    def follow(self, worker: Worker) -> None:
        """Stop this worker when code changes."""
        with self._lock:
            self._worker = worker
        autoreload.file_changed.connect(self._on_file_changed)

    def stop(self) -> None:
        """Stop the worker and wait for its end, at most the seconds given."""
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()
            worker.join(self._seconds)

    def _on_file_changed(self, **kwargs: Any) -> None:
        self.stop()


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
