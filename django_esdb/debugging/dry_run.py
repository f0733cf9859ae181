"""
Processing events without leaving anything, to see what each of them changes.

The real handlers work on the real tables, within a transaction that is rolled back in
any case. It begins as a runner's does, by locking the projection's tracking row: no
batch is under way meanwhile, and locks are taken in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from eventsourcing.application import Application
from eventsourcing.projection import Projection

from django_esdb.applications.shared import make_application
from django_esdb.db.connections import close_if_lost
from django_esdb.db.errors import Cause, cause_of
from django_esdb.db.guards import limit_idle_transactions, shorter_lock_waits
from django_esdb.db.sessions import session_of
from django_esdb.debugging.events import Choice, Chosen, chosen_events
from django_esdb.debugging.refusals import nothing_elsewhere
from django_esdb.debugging.time_limits import TimeLimit
from django_esdb.debugging.watch import Change, RowWatch
from django_esdb.exceptions import DryRunError
from django_esdb.failures.attempts import view_and_projection
from django_esdb.handlers.functions import CheckedProjection
from django_esdb.rebuilding.one_aggregate import (
    delete_rows_of,
    require_aggregate_rows,
)
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration
from django_esdb.subscriptions.received import ReceivedEvent
from django_esdb.tracebacks import traceback_of
from eventsourcing_eventstoredb.metadata import handling
from eventsourcing_eventstoredb.text import counted, named_line

# From so many rows on a table is not read as a whole.
LARGE_TABLE = 1_000
# In which the transaction may wait for its next statement, beyond what it has in all.
_IDLE_SECONDS = 1.0


@dataclass(frozen=True)
class EventRun:
    """
    What an event has done.

    Attributes:
        position: The event's.
        topic: The event's, as stored.
        seconds: How long the handler and its statements took.
        error: Why it failed, in a line; empty if it did not. Then nothing is changed.
        traceback: Where it failed.
        changes: What it has changed.
        notes: What could not be told, or was left out, in a line each.
    """

    position: int
    topic: str
    seconds: float
    error: str = ""
    traceback: str = ""
    changes: Sequence[Change] = ()
    notes: Sequence[str] = ()


@dataclass
class DryRun:
    """
    A projection's events, processed without leaving anything.

    Args:
        registration: The projection.
        choice: Which events.
        limit: How long the transaction may take; None for any time.
        large_table: From how many rows on a table is not read as a whole.
        anew: Whether to begin without the aggregate's rows, as a rebuild of it does.

    Attributes:
        has_more: Whether there are more events than were asked for.
        processed: Up to which position the projection has processed events.
        count: How many events there are to process.
    """

    registration: Registration
    choice: Choice
    limit: TimeLimit | None = None
    large_table: int = LARGE_TABLE
    anew: bool = False
    has_more: bool = False
    processed: int | None = None
    count: int = 0
    _callbacks: int = field(default=0, init=False)

    def run(self) -> Iterator[EventRun]:
        """
        Yield what each event does, as soon as it is known.

        The events come one after the other, each on what those before have left. What
        one that fails has written is undone, and the next ones come all the same. The
        transaction lasts until the last one is taken, or the iterator is closed.

        Raises:
            ConfigurationError: The view does not say which rows are an aggregate's.
            DryRunError: There are no such events, the view is not on the ORM, the time
                was over, or the transaction was ended by a handler.
            eventsourcing.persistence.PersistenceError: The event store cannot be used.
            django.db.Error: The database cannot be used.
        """
        registration = self.registration
        if not issubclass(registration.view_class, DjangoTrackingRecorder):
            msg = (
                f"Projection {registration.name!r} keeps its rows elsewhere than in "
                "Django's models, where nothing could be undone: its events are not "
                "processed"
            )
            raise DryRunError(msg)
        if self.anew:
            require_aggregate_rows(registration)
        env = registration.env()
        app = make_application(registration.application_class, env)
        try:
            # All of them first: nothing waits for the store within the transaction.
            chosen = self._chosen(app)
            if chosen.events:
                view, projection = view_and_projection(registration, env)
                yield from self._undone(view, projection, chosen.events)
        finally:
            app.close()

    def _chosen(self, app: Application[Any]) -> Chosen:
        chosen = chosen_events(app, self.registration, self.choice)
        self.has_more, self.count = chosen.has_more, len(chosen.events)
        return chosen

    def _undone(
        self,
        view: DjangoTrackingRecorder,
        projection: Projection[Any],
        events: Sequence[ReceivedEvent],
    ) -> Iterator[EventRun]:
        tracked = self.registration.tracked()
        using = tracked.using
        connection = connections[using]
        self.processed = tracked.queryset().position()
        with self._limited(connection):
            try:
                with transaction.atomic(using=using):
                    try:
                        tracked.lock()
                        if self.anew:
                            first = events[0].notification
                            delete_rows_of(view, first.originator_id)
                        yield from self._processed(view, projection, events)
                    finally:
                        transaction.set_rollback(True, using=using)
            except DatabaseError as error:
                close_if_lost(connection)
                if self._is_over or (self.limit and cause_of(error) is Cause.LOCK):
                    raise self._too_long() from error
                raise
            finally:
                if self._is_over:
                    # Its session was ended.
                    connection.close()

    @contextmanager
    def _limited(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        if self.limit is None:
            yield
            return
        connection.ensure_connection()
        with (
            shorter_lock_waits(connection, self.limit.seconds),
            self.limit.of(session_of(connection)),
        ):
            yield

    @property
    def _is_over(self) -> bool:
        return self.limit is not None and self.limit.is_over

    def _processed(
        self,
        view: DjangoTrackingRecorder,
        projection: Projection[Any],
        events: Sequence[ReceivedEvent],
    ) -> Iterator[EventRun]:
        connection = connections[view.using or ""]
        models = self.registration.view_class.read_models  # type: ignore[attr-defined]
        watch = RowWatch(
            connection, [model._meta.db_table for model in models], self.large_table
        )
        for event in events:
            with nothing_elsewhere(connection.alias, self._called_back):
                found = self._event(view, projection, event, watch)
            if self._is_over:
                raise self._too_long(event)
            if connection.get_rollback() or connection.closed_in_transaction:
                raise self._ended(found)
            yield found

    def _event(
        self,
        view: DjangoTrackingRecorder,
        projection: Projection[Any],
        event: ReceivedEvent,
        watch: RowWatch,
    ) -> EventRun:
        connection = connections[view.using or ""]
        notification = event.notification
        self._callbacks = 0
        known = len(connection.run_on_commit)
        watch.begin()
        began = perf_counter()
        seconds: float | None = None
        changes: Sequence[Change] = ()
        error = place = ""
        try:
            with view.batch_in_place(event.tracking.application_name) as batch:
                # So that those that ask have no effects elsewhere.
                batch.take_all_as_replayed()
                self._limit_idleness(connection)
                watch.count()
                with connection.execute_wrapper(watch.execute_wrapper):
                    began = perf_counter()
                    if event.error is not None:
                        raise event.error
                    batch.begin(event.tracking)
                    with handling(notification):
                        CheckedProjection(projection).process_event(
                            event.domain_event, event.tracking
                        )
                    batch.finish()
                    seconds = perf_counter() - began - watch.seconds
                    changes = watch.changes()
                self._callbacks += len(connection.run_on_commit) - known
        except KeyboardInterrupt:
            # More likely the command's than the handler's.
            raise
        except BaseException as problem:
            error, place = named_line(problem), traceback_of(problem)
            changes = ()
            if seconds is None:
                seconds = perf_counter() - began - watch.seconds
        return EventRun(
            notification.id,
            notification.topic,
            seconds,
            error,
            place,
            changes,
            (*watch.notes, *self._said_of_callbacks()),
        )

    def _limit_idleness(self, connection: BaseDatabaseWrapper) -> None:
        """Have the database end the transaction if this process is suspended in it."""
        if self.limit is not None:
            limit_idle_transactions(connection, self.limit.seconds + _IDLE_SECONDS)

    def _called_back(self) -> None:
        self._callbacks += 1

    def _said_of_callbacks(self) -> Iterator[str]:
        if self._callbacks > 0:
            callbacks = counted(
                self._callbacks, "on_commit callback", "on_commit callbacks"
            )
            yield f"{callbacks}, not called"

    def _too_long(self, event: ReceivedEvent | None = None) -> DryRunError:
        assert self.limit is not None
        if event is None:
            place = "another process may be in a transaction on the projection's row"
        else:
            place = f"it was at position {event.notification.id}"
        return DryRunError(
            f"Projection {self.registration.name!r}: broken off after "
            f"{self.limit.seconds:g} s, and undone; {place}"
        )

    def _ended(self, run: EventRun) -> Exception:
        return DryRunError(
            f"Projection {self.registration.name!r}: the transaction has ended at "
            f"position {run.position}, maybe by the handler itself, past Django: what "
            f"it wrote may be there ({run.error})"
        )
