"""The work of ``rebuildprojection --beside``: rounds of a worker, then the switch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from django.core.management.base import CommandError
from django.db import Error as DatabaseError
from eventsourcing.persistence import PersistenceError

from django_esdb.applications.store_address import store_hint
from django_esdb.conf import settings
from django_esdb.exceptions import (
    ConfigurationError,
    DjangoEsdbError,
)
from django_esdb.leases.lease import Lease
from django_esdb.management.base import CONFIGURATION, FAILED
from django_esdb.management.commands._takeover import run_taken
from django_esdb.management.progress import Shown
from django_esdb.rebuilding.beside.building import (
    abort_build,
    begin_build,
    build_record,
    finish_ended,
    forget_unused,
    note_reached,
    require_target,
    second_set,
)
from django_esdb.rebuilding.beside.registration import build_registration
from django_esdb.rebuilding.beside.switching import (
    Held,
    Switched,
    give_back,
    hold,
    switch,
)
from django_esdb.registry import Registration
from django_esdb.runner.renewals import LeaseRenewal
from django_esdb.runner.term import Goal
from eventsourcing_eventstoredb.text import one_line

# A build is close when it takes no longer than this to come to where the rows in use
# are; and after so many rounds it comes no closer.
_CLOSE_SECONDS = 2.0
_MOST_ROUNDS = 10


class BesideRebuild:
    """
    Builds a projection's rows next to those in use, and has them switch.

    Models of the whole process are redirected meanwhile.

    Args:
        registration: The projection.
        shown: Where it is told how far it is.
        restart: Whether to begin again where a build was broken off.
        batch_size: Most events in a transaction; None for the setting's.
        shutdown_timeout: Seconds that stopping may take.
    """

    def __init__(
        self,
        registration: Registration,
        shown: Shown,
        *,
        restart: bool,
        batch_size: int | None,
        shutdown_timeout: float,
    ) -> None:
        self._registration = registration
        self._shown = shown
        self._restart = restart
        self._batch_size = batch_size
        self._shutdown_timeout = shutdown_timeout
        # Of the build, once it has begun.
        self._record_id: int | None = None
        self._target = 0

    def run(self) -> Switched:
        """
        Build and switch; blocks. The second set is dropped then, if it can be.

        Raises:
            CommandError: It is not done; the text says what stands and how to continue.
        """
        with self._told():
            for name in finish_ended([self._registration]):
                self._shown.say(f"Dropped what a former rebuild of {name} has left")
            self._second = second_set(self._registration)
            self._built = build_registration(self._registration, self._second)
            require_target(self._registration)
            with self._second.redirected():
                self._come_close()
                held = hold(self._registration)
                try:
                    self._last_round(held)
                except BaseException:
                    give_back(held)
                    raise
            try:
                switched = switch(self._registration, self._second, held)
            except BaseException:
                give_back(held)
                raise
        try:
            list(finish_ended([self._registration]))
        except DatabaseError as error:
            self._shown.say(
                "The second set of tables is still there, and dropped when a command "
                f"is run next: {one_line(error)}"
            )
        return switched

    def _come_close(self) -> None:
        for _ in range(_MOST_ROUNDS):
            began = monotonic()
            self._round()
            if monotonic() - began < _CLOSE_SECONDS:
                return

    def _last_round(self, held: Held) -> None:
        """Come to where the projection stands, which is held meanwhile."""
        # The switch finds out what is lost.
        renewal = LeaseRenewal(held.lease, lambda error: None)
        try:
            self._round()
        finally:
            renewal.stop()

    def _round(self) -> None:
        """Run the build up to where the rows in use are when it begins."""
        run = run_taken(
            self._built,
            self._shown,
            "Building",
            self._take_over,
            batch_size=self._batch_size,
            shutdown_timeout=self._shutdown_timeout,
            exclusive=True,
        )
        if run.refused is not None:
            raise run.refused
        if run.error is not None:
            raise run.error
        if run.was_stopped:
            raise KeyboardInterrupt
        note_reached(self._registration, self._target)

    def _take_over(self, owner: str, goal: Goal) -> Lease:
        begun = begin_build(
            self._registration,
            self._second,
            owner,
            settings.ESDB_LEASE_SECONDS,
            afresh=self._restart,
            record_id=self._record_id,
        )
        self._restart = False
        is_first, self._record_id = self._record_id is None, begun.record_id
        self._target = begun.target
        goal.is_at(begun.target)
        if is_first:
            name = self._registration.name
            said = (
                f"Building {name} next to the rows in use, which stay until it is done"
            )
            if begun.goes_on:
                said = f"Continuing to build {name} next to the rows in use"
            elif begun.was_outdated:
                said += "; what was built before is of other code or tables"
            self._shown.say(said)
        return begun.lease

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say what stands, and how to continue, where it is not done."""
        name = self._registration.name
        try:
            yield
        except KeyboardInterrupt:
            msg = f"The rebuild of {name} is stopped{self._rest()}"
            raise CommandError(msg, returncode=FAILED) from None
        except (DjangoEsdbError, DatabaseError, PersistenceError) as error:
            hint = store_hint(self._registration.application_class, error)
            is_ours = isinstance(error, ConfigurationError)
            status = CONFIGURATION if is_ours else FAILED
            rest = self._rest()
            msg = f"{name} was not rebuilt: {one_line(error)}{hint}{rest}"
            raise CommandError(msg, returncode=status) from error
        finally:
            with suppress(DatabaseError):
                forget_unused(self._registration)

    def _rest(self) -> str:
        name = self._registration.name
        try:
            record = build_record(self._registration)
        except DatabaseError:
            return ""
        if record is None or record.ended_at is not None:
            return "" if self._record_id is None else "; it was aborted"
        return (
            f"; the rows in use stand. The same command continues, and manage.py "
            f"rebuildprojection {name} --abort drops what is built"
        )


def abort(registration: Registration) -> str:
    """
    Drop what a build has made; return what to say of it.

    Raises:
        CommandError: The database cannot be used.
    """
    name = registration.name
    try:
        there = abort_build(registration)
    except DatabaseError as error:
        msg = f"The rebuild of {name} is not aborted: {one_line(error)}"
        raise CommandError(msg, returncode=FAILED) from error
    if not there:
        return f"{name} is not being rebuilt next to its rows: nothing to abort"
    return f"The rebuild of {name} is aborted; the rows in use stand"
