from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import Error as DatabaseError
from eventsourcing.persistence import PersistenceError

from django_esdb import signals
from django_esdb.applications.store_address import store_hint
from django_esdb.conf import settings
from django_esdb.exceptions import (
    ConfigurationError,
    DjangoEsdbError,
    NoSuchAggregateError,
)
from django_esdb.failures.resuming import TAKEOVER_SECONDS, is_run
from django_esdb.leases.lease import Lease
from django_esdb.management.base import CONFIGURATION, FAILED, SafeCommand
from django_esdb.management.commands._projections import (
    add_no_input_argument,
    choose,
    database_errors,
    is_confirmed,
    positive,
    put_aside,
    require_migrations,
    require_valid_configuration,
    what_is_deleted,
)
from django_esdb.management.commands._rebuild_beside import BesideRebuild
from django_esdb.management.commands._rebuild_beside import abort as abort_beside
from django_esdb.management.commands._shutdown import add_shutdown_argument
from django_esdb.management.commands._takeover import run_taken
from django_esdb.management.progress import (
    Shown,
    add_progress_argument,
    shown_progress,
)
from django_esdb.rebuilding.beginning import goes_on, rebuilt_view, take_over
from django_esdb.rebuilding.one_aggregate import (
    rebuild_aggregate,
    require_aggregate_rows,
    rows_of,
)
from django_esdb.rebuilding.resetting import what_is_made
from django_esdb.registry import Registration
from django_esdb.runner.term import Goal
from django_esdb.status.status import shown
from eventsourcing_eventstoredb.text import LONGEST_NAME, counted, one_line


class Command(SafeCommand):
    help = (
        "Makes the rows of a projection's read models anew: takes it from the process "
        "that runs it, deletes its rows, failed events and position in one "
        "transaction, processes all events that there are by then, and gives it back. "
        "Where that was broken off, the same command continues."
    )
    exit_statuses = {
        "0": "rebuilt",
        "1": "not confirmed, stopped, an event failed, or a store cannot be used",
        "2": "there is no such projection, or something is not configured",
        "4": "not stopped in time: the batch that was under way is undone",
        "5": "an event took longer than ESDB_EVENT_SECONDS: its batch is undone",
        "128 + N": "ended by a second signal N: the batch is undone",
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="The projection.")
        add_no_input_argument(parser)
        parser.add_argument(
            "--only",
            metavar="ID",
            help="Make the rows of this aggregate anew, and of no other.",
        )
        parser.add_argument(
            "--beside",
            action="store_true",
            help="Build the rows in a second set of tables, while the site reads the "
            "old ones, and switch in one transaction.",
        )
        parser.add_argument(
            "--abort",
            action="store_true",
            help="Drop what --beside has built; the rows in use stand.",
        )
        parser.add_argument(
            "--restart",
            action="store_true",
            help="Begin again, instead of continuing what was broken off.",
        )
        parser.add_argument(
            "--batch-size",
            type=positive,
            metavar="N",
            help="Most events in a transaction (default: the setting "
            "ESDB_REPLAY_BATCH_SIZE).",
        )
        add_shutdown_argument(parser)
        add_progress_argument(parser)

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        _refuse_without_effect(**options)
        require_valid_configuration()
        [registration] = choose([name])
        require_migrations([registration])
        require = rebuilt_view if options["only"] is None else require_aggregate_rows
        if options["abort"] or options["beside"]:
            self._rebuild_beside(registration, **options)
            return
        try:
            require(registration)
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=CONFIGURATION) from error
        if options["only"] is not None:
            self._rebuild_only(registration, **options)
            return
        if options["interactive"] and not self._is_confirmed(registration, **options):
            msg = "Nothing was rebuilt"
            raise CommandError(msg)
        self.expect_many_objects()
        with shown_progress(self.stdout, options, self.stderr) as shown:
            rebuild = _Rebuild(registration, shown, restart=options["restart"])
            rebuild.run(
                batch_size=options["batch_size"],
                shutdown_timeout=options["shutdown_timeout"],
            )
        self.stdout.write(_outcome(registration))

    def _rebuild_beside(
        self,
        registration: Registration,
        *,
        abort: bool,
        restart: bool,
        batch_size: int | None,
        shutdown_timeout: float,
        **options: Any,
    ) -> None:
        if abort:
            self.stdout.write(abort_beside(registration))
            return
        if not self.is_from_shell:
            msg = (
                "--beside leads the models of its whole process to other tables: start "
                f"manage.py rebuildprojection {registration.name} --beside as a "
                "process of its own"
            )
            raise CommandError(msg, returncode=CONFIGURATION)
        self.expect_many_objects()
        with shown_progress(self.stdout, options, self.stderr) as shown:
            switched = BesideRebuild(
                registration,
                shown,
                restart=restart,
                batch_size=batch_size,
                shutdown_timeout=shutdown_timeout,
            ).run()
        deleted = counted(switched.deleted, "row", "rows")
        self.stdout.write(
            f"{registration.name} has switched: deleted {deleted}, inserted "
            f"{switched.inserted}, left what was equal"
        )
        self.stdout.write(_outcome(registration))

    def _rebuild_only(
        self,
        registration: Registration,
        *,
        only: str,
        interactive: bool,
        **options: Any,
    ) -> None:
        name, aggregate = registration.name, shown(only, LONGEST_NAME)
        try:
            said = what_is_deleted(rows_of(registration, only))
            warning = (
                f"The rows of aggregate {aggregate} will be rebuilt: "
                f"{said or 'no row'} will be deleted."
            )
            if interactive and not is_confirmed(warning):
                msg = "Nothing was rebuilt"
                raise CommandError(msg)
            rebuilt = rebuild_aggregate(registration, only)
        except (ConfigurationError, NoSuchAggregateError) as error:
            raise CommandError(str(error), returncode=CONFIGURATION) from error
        except (DjangoEsdbError, DatabaseError, PersistenceError) as error:
            hint = store_hint(registration.application_class, error)
            msg = f"{aggregate} was not rebuilt: {one_line(error)}{hint}"
            raise CommandError(msg, returncode=FAILED) from error
        events = counted(rebuilt.events, "event", "events")
        deleted = what_is_deleted(rebuilt.rows) or "no row"
        self.stdout.write(
            f"{name}: {aggregate} is rebuilt from {events}; deleted {deleted}"
        )

    def _is_confirmed(
        self, registration: Registration, *, restart: bool, **options: Any
    ) -> bool:
        with database_errors():
            row = registration.tracked().queryset().first()
            if goes_on(registration, row) and not restart:
                return True
            made = what_is_made(registration)
        if made is None:
            return True
        said = what_is_deleted(made)
        deleted = f"{said} will be deleted" if said else "no row is there"
        return is_confirmed(
            f"{registration.name} will be rebuilt from the first event: {deleted}, and "
            "pages show few or no rows until it is done."
        )


def _refuse_without_effect(
    *,
    only: str | None,
    abort: bool,
    beside: bool,
    restart: bool,
    batch_size: int | None,
    **options: Any,
) -> None:
    """Raise CommandError for options that others of the command would not heed."""
    given = {"--restart": restart, "--batch-size": batch_size is not None}
    if only is not None:
        given = {"--beside": beside, "--abort": abort, **given}
    elif not abort:
        return
    unheeded = ", ".join(option for option, is_given in given.items() if is_given)
    if not unheeded:
        return
    msg = (
        f"--abort drops what --beside has built, builds nothing: leave out {unheeded}"
        if only is None
        else f"--only rebuilds one aggregate in place: leave out {unheeded}"
    )
    raise CommandError(msg, returncode=CONFIGURATION)


class _Rebuild:
    """A worker that takes a projection, and runs it until it is rebuilt."""

    def __init__(
        self, registration: Registration, shown: Shown, *, restart: bool
    ) -> None:
        self._registration = registration
        self._shown = shown
        self._restart = restart

    def run(self, *, batch_size: int | None, shutdown_timeout: float) -> None:
        """Rebuild it; blocks. Raises a CommandError if it is not done."""
        name = self._registration.name
        sender = self._registration.projection_class
        signals.standing_by.connect(self._standing_by, sender=sender)
        try:
            run = run_taken(
                self._registration,
                self._shown,
                "Rebuilding",
                self._take_over,
                batch_size=batch_size,
                shutdown_timeout=shutdown_timeout,
            )
        finally:
            signals.standing_by.disconnect(self._standing_by, sender=sender)
        if run.refused is not None:
            msg = f"{name} was not rebuilt: {one_line(run.refused)}"
            raise CommandError(msg, returncode=FAILED) from run.refused
        if run.error is not None:
            raise CommandError(str(run.error), returncode=FAILED) from run.error
        with database_errors():
            row = self._registration.tracked().row()
        if row.is_replaying:
            msg = (
                f"{name} is stopped at position {row.position or 0} of "
                f"{row.replay_until}: the same command continues there, and so does "
                "runprojections"
            )
            raise CommandError(msg, returncode=FAILED)

    def _take_over(self, owner: str, goal: Goal) -> Lease:
        name = self._registration.name
        begun = take_over(
            self._registration,
            owner,
            settings.ESDB_LEASE_SECONDS,
            afresh=self._restart,
        )
        goal.is_at(begun.until)
        if begun.rows is None:
            self._shown.say(f"Continuing the rebuild of {name}")
        else:
            said = what_is_deleted(begun.rows)
            self._shown.say(
                f"Rebuilding {name}" + (f": deleted {said}" if said else "")
            )
            sender = signals.Sender(
                self._registration.projection_class, self._registration.application_name
            )
            sender.send(signals.rebuild_began, until=begun.until, rows=dict(begun.rows))
        return begun.lease

    def _standing_by(self, *, owner: str, **kwargs: Any) -> None:
        if owner:
            self._shown.say(f"{owner} has taken over, and is waited for")


def _outcome(registration: Registration) -> str:
    tracked = registration.tracked()
    with database_errors():
        row = tracked.row()
        runs = is_run(tracked, TAKEOVER_SECONDS)
    processed = counted(row.processed, "event", "events")
    said = f"{registration.name} is rebuilt from {processed}"
    failed = put_aside([registration]).get(registration.name)
    if failed:
        said += (
            f", of which {failed} failed and {'is' if failed == 1 else 'are'} put aside"
        )
    return said if runs else f"{said}; no process runs it: start runprojections"
