"""From batches of events to committed transactions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import InterfaceError as DatabaseInterfaceError
from django.db import OperationalError as DatabaseOperationalError
from django.db import models
from eventsourcing.persistence import OperationalError
from eventsourcing.projection import Projection

from django_esdb.exceptions import (
    ConfigurationError,
    EventProcessingError,
    PositionMovedError,
    UndecodableEventError,
)
from django_esdb.recorders import DjangoTrackingRecorder
from django_esdb.runner.reader import Event
from eventsourcing_eventstoredb.text import describe, one_line


class BatchProcessor:
    """
    Gives a projection its events, a transaction for each batch.

    A batch that fails is undone and processed again event by event, so that
    what comes before the failing event is kept and the error names it.

    Args:
        projection: What processes the events.
        view: Its view, whose position moves with each batch.
        application_name: The application that has recorded them.

    Attributes:
        position: Of the last event that is processed and committed.
    """

    def __init__(
        self,
        projection: Projection[Any],
        view: DjangoTrackingRecorder,
        application_name: str,
    ) -> None:
        self._projection = projection
        self._view = view
        self._application_name = application_name
        self._row_keys = getattr(projection, "row_keys", None)
        view.ensure_row(application_name)
        self.position = view.max_tracking_id(application_name)

    def process(self, events: Sequence[Event]) -> None:
        """
        Process consecutive events and commit.

        Raises:
            UndecodableEventError: The first event could not be decoded.
            EventProcessingError: The projection failed at one of them; those
                before it are committed.
            PositionMovedError: Another process is running the projection.
            Exception: Any other error that may be gone at another try, or that
                is not about an event; nothing is committed.
        """
        undecodable = events[0].error
        if undecodable is not None:
            raise UndecodableEventError(
                f"Projection {self._projection.name!r} stopped at an event that it "
                f"cannot decode: {describe(events[0].notification)}: "
                f"{one_line(undecodable)}"
            ) from undecodable
        try:
            self._commit(events)
        except Exception as error:
            if is_transient(error) or isinstance(error, ConfigurationError):
                raise
            if len(events) == 1:
                raise self._failure(events[0], error) from error
            for event in events:
                self.process([event])

    def pass_over(self, position: int) -> None:
        """
        Move on to a later position, up to which no event is the projection's.

        Raises:
            PositionMovedError: Another process is running the projection.
        """
        with self._view.batch(self._application_name, self.position, position):
            pass
        self.position = position

    def _commit(self, events: Sequence[Event]) -> None:
        end = events[-1].notification.id
        process_event = self._projection.process_event

        def keys_of(model: type[models.Model]) -> Iterable[Any]:
            return self._keys_of(model, events)

        with self._view.batch(
            self._application_name, self.position, end, keys_of
        ) as batch:
            for event in events:
                batch.begin(event.tracking)
                process_event(event.domain_event, event.tracking)
        self.position = end

    def _keys_of(
        self, model: type[models.Model], events: Sequence[Event]
    ) -> Iterable[Any]:
        if self._row_keys is None:
            return [event.notification.originator_id for event in events]
        return [
            key for event in events for key in self._row_keys(model, event.domain_event)
        ]

    def _failure(self, event: Event, error: Exception) -> EventProcessingError:
        return EventProcessingError(
            f"Projection {self._projection.name!r} stopped at an event that it failed "
            f"to process: {describe(event.notification)}: "
            f"{type(error).__name__}: {one_line(error)}"
        )


def is_transient(error: BaseException) -> bool:
    """
    Return whether the same may succeed later without anybody's doing.

    That is so for a lost connection, a locked database or a server that is not
    ready, and for a position that another process has moved.
    """
    return isinstance(
        error,
        (
            OperationalError,
            PositionMovedError,
            DatabaseOperationalError,
            DatabaseInterfaceError,
        ),
    )
