"""The transaction that is being made: of one event, or of a runner's batch."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from eventsourcing.persistence import IntegrityError, Tracking

from django_esdb.db.sessions import Session
from django_esdb.models import ProjectionTrackingQuerySet
from django_esdb.recorders.callbacks import CommitCallbacks
from django_esdb.recorders.rows.unit_of_work import UnitOfWork


class Current(threading.local):
    """
    What the current thread's transaction is; each thread has its own.

    Attributes:
        unit: The rows of the transaction, None outside of one.
        batch: The runner's batch, None outside of one.
        alone: The one event of the transaction, None in a batch or outside.
    """

    unit: UnitOfWork | None = None
    batch: Batch | None = None
    alone: Tracking | None = None

    @contextmanager
    def set(
        self, unit: UnitOfWork, batch: Batch | None, alone: Tracking | None = None
    ) -> Iterator[None]:
        self.unit, self.batch, self.alone = unit, batch, alone
        try:
            yield
        finally:
            unit.close()
            self.unit = self.batch = self.alone = None


class Batch:
    """
    Consecutive events that are processed in one transaction.

    The runner says which event it is at; the view joins in with that one.

    Args:
        position: Where the projection's row is within the transaction.
        replay_until: Position of the last event that is processed once more; None if
            there is none.

    Attributes:
        session: Of the transaction, for who may have to end it; None if it is not
            known.
    """

    session: Session | None = None

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        unit: UnitOfWork,
        rows: ProjectionTrackingQuerySet,
        projection: str,
        position: int | None,
        replay_until: int | None = None,
    ) -> None:
        self._position = position
        self._replay_until = replay_until
        self._connection = connection
        self._unit = unit
        unit.position_is_moved()
        self._rows = rows
        self._callbacks = CommitCallbacks(connection, projection)
        self._at: Tracking | None = None
        self._last: Tracking | None = None
        self._has_joined = False
        self._joined = Joined(self)
        self._doomed_by: BaseException | None = None

    @property
    def is_replay(self) -> bool:
        """Whether the event at hand was processed before, or is rebuilt from."""
        at, until = self._at, self._replay_until
        return at is not None and until is not None and at.notification_id <= until

    def take_all_as_replayed(self) -> None:
        """Have no event of the batch count as processed for the first time."""
        self._replay_until = sys.maxsize

    def event_ended(self) -> bool:
        """
        Note that an event is processed.

        Returns:
            Whether another one may be in the same transaction.

        Raises:
            DatabaseError: The database refuses what the event has left.
        """
        self._at = None
        self._unit.event_ended()
        if len(self._connection.run_on_commit) != self._callbacks.known:
            self._callbacks.belong_to(self._last)
        return not self._unit.has_to_end

    def begin(self, tracking: Tracking) -> None:
        """
        Move to the next event.

        Raises:
            DatabaseError: The database refuses what the last one has left.
        """
        if self._at is not None:
            self.event_ended()
        if self._last is not None:
            self._unit.go_on()
        self._at = self._last = tracking
        self._has_joined = False

    def joined(self, tracking: Tracking) -> Joined:
        """
        Return the context in which a view processes the event at hand.

        Raises:
            IntegrityError: It is another event, or is processed already.
        """
        is_other = tracking is not self._at and tracking != self._at
        if is_other or self._has_joined:
            msg = f"Cannot process {tracking} while at {self._at}"
            if self._has_joined:
                msg += ", which is processed already"
            raise IntegrityError(msg)
        self._has_joined = True
        return self._joined

    def end_at(self, position: int, **changes: Any) -> None:
        """
        Have the batch end at an earlier event than it was begun for.

        Args:
            position: The last event's that is in it.
            changes: Other fields of the tracking row to set.
        """
        with self._unit.own_statements():
            self._rows.update(position=position, **changes)
        self._position = position

    def finish(self) -> None:
        """
        Write what is pending; the transaction can be committed then.

        Raises:
            TransactionManagementError: An error doomed the batch, and was
                caught.
            IntegrityError: A handler has moved the projection's position.
        """
        if self._connection.get_rollback():
            msg = "An error within atomic() was caught, but the batch is lost with it"
            # Whether that may pass by itself, says its reason.
            raise transaction.TransactionManagementError(msg) from self._doomed_by
        self._unit.finish()
        if self._unit.writes_positions:
            self._check_position()
        self._callbacks.belong_to(self._last)

    def _check_position(self) -> None:
        """Refuse that a handler moves what tells which events are processed."""
        with self._unit.own_statements():
            row = self._rows.first()
        if row is None or row.position != self._position:
            msg = (
                "A handler has changed the position of its own projection, so that "
                "events would be processed twice or not at all; have a projection "
                "start over from elsewhere, such as by resetprojection"
            )
            raise IntegrityError(msg)

    def doom(self, error: BaseException | None) -> None:
        """See to it that nothing of the batch is committed, because of an error."""
        self._doomed_by = self._doomed_by or error
        self._connection.set_rollback(True)


class Joined:
    """A part of a batch; cheaper than Django's atomic, for it is one each event."""

    __slots__ = ("_batch",)

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self._batch.doom(exc_value)
