"""
Views in the ORM: rows and position in one transaction.

A view's rows and the position that they reflect change together or not at
all. Outside a runner each ``atomic(tracking)`` is a transaction of its own;
within a runner the runner holds it, and ``atomic`` only joins in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from django.db import connections, models, transaction
from eventsourcing.persistence import Tracking, TrackingRecorder

from django_esdb.db.guards import limit_idle_transactions
from django_esdb.leases.lease import Lease
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import ProjectionTrackingQuerySet
from django_esdb.recorders.batch import Batch, Current
from django_esdb.recorders.databases import view_database
from django_esdb.recorders.rows.rows import Rows
from django_esdb.recorders.rows.unit_of_work import UnitOfWork
from django_esdb.recorders.transactions import (
    advance_position,
    move_position,
    view_transaction,
)
from django_esdb.recorders.waiting import wait_until_processed

TModel = TypeVar("TModel", bound=models.Model)


class DjangoTrackingRecorder(TrackingRecorder):
    """
    Base class of materialised views that are kept in Django models.

    Methods that process an event do their work within ``self.atomic(tracking)``::

        def register_dog(self, dog_id, name, tracking):
            with self.atomic(tracking):
                self.rows(Dog).add(Dog(id=dog_id, name=name))

    The plain ORM may be used there too, also side by side with ``rows``.

    Args:
        name: Whose positions these are; a projection's name. By default the
            class's.
        using: Database alias. By default the class's ``using``, else where the
            first of ``read_models`` is written, else the tracking model.

    Attributes:
        read_models: Models that the view writes. They must be written to the
            view's database, which is then checked before anything runs.
    """

    using: str | None = None
    read_models: tuple[type[models.Model], ...] = ()
    # Whether a runner is to process nothing behind its row's ``replay_until``.
    ends_with_replay = False
    # Set by a runner that processes the view's events in this process: blocks until it
    # has committed a position, or will not, or so many seconds are over.
    await_arrival: Callable[[int, float], object] | None = None

    def __init__(self, name: str | None = None, using: str | None = None) -> None:
        super().__init__()
        self.name = name or type(self).__name__
        self.using = using or self.database()
        self._current = Current()
        self._have_row: set[str] = set()

    @classmethod
    def database(cls) -> str:
        """
        Return the alias of the database that rows and positions are kept in.

        Raises:
            ViewDatabaseError: There is no such database, or a read model is
                written to another one, or ``read_models`` are no models.
        """
        return view_database(cls.__name__, cls.using, cls.read_models)

    def atomic(self, tracking: Tracking) -> AbstractContextManager[None]:
        """
        Do what is inside, and record that the event is processed; or neither.

        Outside a runner this is a transaction of its own. Within a runner's
        batch the transaction is the batch's, and an error in here dooms all of
        it, even if the error is caught.

        Raises:
            IntegrityError: The event at this position is processed already.
                Nothing inside is done.
            ViewDatabaseError: Something inside writes to another database.
        """
        batch = self._current.batch
        return self._alone(tracking) if batch is None else batch.joined(tracking)

    def rows(self, model: type[TModel], key: str = "pk") -> Rows[TModel]:
        """
        Return the model's rows for reading and changing within ``atomic``.

        Each row is read and written once in a batch, however many of its
        events change it; see :class:`~django_esdb.recorders.rows.Rows`.

        Args:
            model: A read model of this view's database.
            key: The unique field that rows are asked for by.

        Raises:
            TransactionManagementError: The caller is not within ``atomic``.
            NotSupportedError: The model's rows cannot be kept in this way.
        """
        unit = self._current.unit
        if unit is None:
            msg = f"{type(self).__name__}.rows() can be used within self.atomic() only"
            raise transaction.TransactionManagementError(msg)
        # Called for each event: without a further call where it is asked for again.
        found = unit.by_pk.get(model) if key == "pk" else None
        return unit.keyed_rows(model, key) if found is None else found

    def refresh_rows(self) -> None:
        """
        Write what rows have pending, and read them again when they are asked for.

        Call it before and after what is not seen to read or write rows: COPY, and
        stored procedures that are called by a cursor's ``callproc``.

        Raises:
            TransactionManagementError: The caller is not within ``atomic``.
        """
        unit = self._current.unit
        if unit is None:
            msg = f"{type(self).__name__}.refresh_rows() takes self.atomic() around it"
            raise transaction.TransactionManagementError(msg)
        unit.refresh()

    @property
    def is_replay(self) -> bool:
        """
        Whether the event at hand is processed once more, and had its effects before.

        That are those up to where the application's events ended when a rebuild began,
        or to where the projection was when it was reset. False outside of ``atomic``
        and of a runner.
        """
        current = self._current
        if current.batch is not None:
            return current.batch.is_replay
        if current.alone is None:
            return False
        position = current.alone.notification_id
        rows = self._rows(current.alone.application_name)
        return rows.filter(replay_until__gte=position).exists()

    def on_live(self, effect: Callable[[], Any]) -> None:
        """
        Have something done once the event at hand is committed, unless it is a replay.

        It is called at most once for each event: not if the transaction is rolled
        back, not if the process ends just after the commit, and never in a replay.
        In a runner an error of it is logged, and stops nothing.

        Args:
            effect: Called without arguments, outside of the transaction.

        Raises:
            TransactionManagementError: No event is being processed in a transaction.
            TypeError: It cannot be called.
        """
        if self._current.unit is None:
            msg = (
                f"{type(self).__name__}.on_live() can be used while a runner processes "
                "an event, or within self.atomic() only"
            )
            raise transaction.TransactionManagementError(msg)
        if not callable(effect):
            msg = f"on_live() takes what can be called, not {type(effect).__name__}"
            raise TypeError(msg)
        if not self.is_replay:
            transaction.on_commit(effect, using=self.using)

    @contextmanager
    def batch(
        self,
        application_name: str,
        start: int | None,
        end: int,
        keys_of: Callable[[type[models.Model]], Iterable[Any]] = lambda model: (),
        *,
        lease: Lease | None = None,
        idle_seconds: float | None = None,
        replay_until: int | None = None,
        **changes: Any,
    ) -> Iterator[Batch]:
        """
        Hold the transaction in which a runner processes consecutive events.

        Args:
            application_name: Whose events they are.
            start: The position that the runner has reached.
            end: Position of the batch's last event.
            keys_of: Says which of a model's rows the events will ask for.
            lease: The caller's; it is renewed with the position.
            idle_seconds: How long the transaction may wait for its next statement;
                by default half of the lease's time.
            replay_until: Position of the last event that is processed once more.
            changes: Other fields of the tracking row to set with the position.

        Raises:
            LeaseLostError: Another process has taken over. Nothing inside is done.
            PositionMovedError: The recorded position is not *start*: another
                process runs this projection. Nothing inside is done.
        """
        unit = UnitOfWork(self._alias, keys_of)
        with self._transaction(unit):
            session = None
            if lease is not None:
                changes.update(leased_until=lease.expiry(), **lease.with_next_move)
                idle = lease.seconds / 2 if idle_seconds is None else idle_seconds
                session = limit_idle_transactions(connections[self._alias], idle)
            tracked = self.tracked(application_name)
            # Once for each batch: to make it costs more than to use it.
            rows = tracked.queryset()
            move_position(tracked, rows, start, end, lease, changes)
            with self._working_in(unit, rows, end, replay_until) as batch:
                batch.session = session
                yield batch
        if lease is not None:
            lease.with_next_move = {}

    @contextmanager
    def batch_in_place(
        self, application_name: str, *, is_replay: bool = False
    ) -> Iterator[Batch]:
        """
        Hold a transaction for events that the position has passed already.

        No runner is in a batch meanwhile: they wait for each other.

        Args:
            application_name: Whose events they are.
            is_replay: Whether all of them are processed once more.
        """
        unit = UnitOfWork(self._alias)
        with self._transaction(unit):
            tracked = self.tracked(application_name)
            tracked.lock()
            row = tracked.row()
            until = row.position if is_replay else row.replay_until
            rows = tracked.queryset()
            with self._working_in(unit, rows, row.position, until) as batch:
                yield batch

    @contextmanager
    def _working_in(
        self,
        unit: UnitOfWork,
        rows: ProjectionTrackingQuerySet,
        position: int | None,
        replay_until: int | None,
    ) -> Iterator[Batch]:
        connection = connections[self._alias]
        batch = Batch(connection, unit, rows, self.name, position, replay_until)
        with unit.hold(), self._current.set(unit, batch):
            yield batch
            batch.finish()

    def insert_tracking(self, tracking: Tracking) -> None:
        """
        Record that the event at this position is processed.

        Raises:
            IntegrityError: That is recorded already, or a later position is.
        """
        with self.atomic(tracking):
            pass

    def max_tracking_id(self, application_name: str) -> int | None:
        """Return the position recorded for the application, None if none is."""
        return self._rows(application_name).position()

    def ensure_row(self, application_name: str) -> None:
        """Make the row that has the position, if it is not there; idempotent."""
        self.tracked(application_name).ensure_row()

    def tracked(self, application_name: str) -> TrackedProjection:
        """Return what the database knows of this projection of an application."""
        return TrackedProjection(self._alias, self.name, application_name)

    def wait(
        self,
        application_name: str,
        notification_id: int | None,
        timeout: float = 1.0,
        interrupt: threading.Event | None = None,
    ) -> None:
        """
        Block until the event at this position is processed.

        Polls the database, at first every millisecond, later every 100 ms; the view of
        a runner asks once before it waits, and again when that has got there. A
        connection that is lost meanwhile is replaced, until the time is over.

        Args:
            application_name: The application that recorded the event.
            notification_id: The event's position; None returns at once.
            timeout: Most seconds to wait.
            interrupt: Ends the wait when it is set.

        Raises:
            TimeoutError: It was not processed in time. If no projection of this name
                is registered, the text says so, and lists those that are.
            UnregisteredWaitError: There is none of this name, nor a position: without
                an *interrupt* this is told at once. This is a TimeoutError, too.
            NotProcessedError: It was put aside, or the projection is paused. This is
                a TimeoutError, too.
            django.db.Error: The database could not be asked, in the end.
            WaitInterruptedError: *interrupt* was set.
            WaitInTransactionError: The calling code is in a transaction that
                does not see what others commit, so waiting could not succeed.
        """
        if notification_id is not None:
            tracked = self.tracked(application_name)
            wait_until_processed(
                tracked, notification_id, timeout, interrupt, self.await_arrival
            )

    @property
    def _alias(self) -> str:
        assert self.using is not None
        return self.using

    def _rows(self, application_name: str) -> ProjectionTrackingQuerySet:
        return self.tracked(application_name).queryset()

    @contextmanager
    def _alone(self, tracking: Tracking) -> Iterator[None]:
        self._make_row_before_transaction(tracking.application_name)
        unit = UnitOfWork(self._alias)
        with self._transaction(unit):
            tracked = self.tracked(tracking.application_name)
            advance_position(tracked, tracking.notification_id)
            with unit.hold(), self._current.set(unit, None, tracking):
                yield
                unit.finish()

    def _transaction(self, unit: UnitOfWork) -> AbstractContextManager[None]:
        def tables() -> Iterable[str]:
            models_ = {*self.read_models, *unit.models}
            return [model._meta.db_table for model in models_]

        return view_transaction(type(self).__name__, self._alias, unit, tables)

    def _make_row_before_transaction(self, application_name: str) -> None:
        # Two transactions that find no row and then insert it deadlock in
        # MariaDB. One query an application is enough to rule that out.
        if application_name in self._have_row:
            return
        if not connections[self._alias].in_atomic_block:
            self.ensure_row(application_name)
            self._have_row.add(application_name)
