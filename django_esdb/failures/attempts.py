"""Processing a failed event once more, in a transaction of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.models import F
from django.utils import timezone
from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactory, Notification, Tracking
from eventsourcing.projection import Projection
from eventsourcing.utils import Environment, EnvType

from django_esdb.applications.shared import make_application
from django_esdb.db.connections import close_if_lost
from django_esdb.db.errors import is_transient
from django_esdb.db.sessions import Session, session_of
from django_esdb.exceptions import FailedEventError
from django_esdb.failures.ahead import is_ahead
from django_esdb.failures.audit import Audit
from django_esdb.failures.parking import failed_events, is_event
from django_esdb.handlers.functions import CheckedProjection
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import FailedEvent
from django_esdb.models.error_kinds import error_kind
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration
from django_esdb.tracebacks import traceback_of
from eventsourcing_eventstoredb.exceptions import PositionRefusedError
from eventsourcing_eventstoredb.metadata import handling
from eventsourcing_eventstoredb.text import named_line


@dataclass
class Outcome:
    """
    What became of failed events.

    Attributes:
        resolved: How many were processed.
        failed: How many failed again.
        waiting: How many were not tried, since an earlier one of their aggregate
            failed.
        resumed: Whether the projection was paused and is resumed.
        left: How many are left for the background, since a limit was reached.
    """

    resolved: int = 0
    failed: int = 0
    waiting: int = 0
    resumed: bool = False
    left: int = 0


# In place of an error: it is not put aside any more.
_GONE = "gone"

_AHEAD = (
    "the projection's position was moved back, and it comes to this event again: start "
    "runprojections"
)

Report = Callable[[FailedEvent, str], None]


class RetryClock(Protocol):
    """Told what is tried and for how long, for who looks whether it hangs."""

    def begin_retry(self, pk: int, event: Notification, session: Session) -> None:
        """Note that the calling thread tries a failed event, with this number."""

    def commit(self) -> None:
        """Note that the event is processed, and its transaction about to end."""

    def end(self) -> None:
        """Note that the transaction is over."""


class Attempts:
    """
    The application, view and projection with which events are tried again.

    Args:
        registration: The projection.
        outcome: What to count in.
        report: Called for each event that was tried.
        audit: Notes each event, in its transaction.
        clock: Told of each event; None if hangs are not watched for.
    """

    def __init__(
        self,
        registration: Registration,
        outcome: Outcome,
        report: Report,
        audit: Audit,
        clock: RetryClock | None = None,
    ) -> None:
        self._registration = registration
        self._tracked = registration.tracked()
        self._outcome = outcome
        self._report = report
        self._audit = audit
        self._clock = clock

    def __enter__(self) -> Attempts:
        registration = self._registration
        env = registration.env()
        self._app: Application[Any] = make_application(
            registration.application_class, env
        )
        try:
            self._view, self._projection = view_and_projection(registration, env)
        except BaseException:
            self._app.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._app.close()

    def retry(self, event: FailedEvent) -> bool:
        """
        Process an event, count and report it; return whether it is resolved.

        One that is not put aside any more is neither counted nor reported.

        What may pass by itself is reported, and not written down as its failure.
        """
        error = self._process(event)
        if error is _GONE:
            # Who has resolved or discarded it in the meantime has told so.
            return True
        if error is None:
            self._outcome.resolved += 1
        else:
            self._outcome.failed += 1
        self._report(event, error or "")
        return error is None

    def _process(self, event: FailedEvent) -> str | None:
        notification = self._read(event)
        if notification is None:
            place = ""
            error = (
                "it is not in the store any more; discard it, or connect to the store "
                "that has it"
            )
        else:
            try:
                # Until its callbacks have been called.
                with (
                    handling(notification),
                    self._resolving(event, notification) as (is_there, begin),
                ):
                    if not is_there:
                        return _GONE
                    if is_ahead(self._tracked, event.position):
                        # It would be processed now, and when it comes again.
                        raise FailedEventError(_AHEAD)
                    domain_event = self._app.mapper.to_domain_event(notification)
                    tracking = Tracking(self._tracked.application, notification.id)
                    begin(tracking)
                    checked = CheckedProjection(self._projection)
                    checked.process_event(domain_event, tracking)
                    self._audit.retried(event, "")
                    return None
            except BaseException as problem:
                if _is_the_commands(problem):
                    raise
                error, place = named_line(problem), traceback_of(problem)
                if is_transient(problem):
                    self._require_database(problem)
                    self._audit.retried(event, error)
                    return error
        with transaction.atomic(using=self._tracked.using):
            note_failure(self._tracked, event.pk, error, place)
            self._audit.retried(event, error)
        return error

    def _require_database(self, problem: BaseException) -> None:
        """Raise an outage that is not this event's alone: the next would meet it."""
        try:
            close_if_lost(connections[self._tracked.using])
            self._tracked.queryset().update(token=F("token"))
        except DatabaseError:
            raise problem from None

    @contextmanager
    def _resolving(
        self, event: FailedEvent, notification: Notification
    ) -> Iterator[tuple[bool, Callable[[Tracking], None]]]:
        clock, rows = self._clock, failed_events(self._tracked)
        try:
            with self._view.batch_in_place(self._tracked.application) as batch:
                # Now, since others may be waited for to get here.
                if clock is not None:
                    session = session_of(connections[self._tracked.using])
                    clock.begin_retry(event.pk, notification, session)
                is_there = bool(rows.filter(pk=event.pk).order_by().delete()[0])
                yield is_there, batch.begin
                if clock is not None:
                    clock.commit()
        finally:
            if clock is not None:
                clock.end()

    def _read(self, event: FailedEvent) -> Notification | None:
        try:
            found = self._app.recorder.select_notifications(
                start=event.position, limit=1, stop=event.position
            )
        except PositionRefusedError:
            # Another store, or an emptied one, has no event that begins there.
            return None
        return next((each for each in found if is_event(event, each)), None)


def _is_the_commands(error: BaseException) -> bool:
    """Return whether an error is more likely a command's than a handler's."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and isinstance(error, KeyboardInterrupt)


def view_and_projection(
    registration: Registration, env: EnvType
) -> tuple[DjangoTrackingRecorder, Projection[Any]]:
    """Make a projection and its view, which is on the ORM, as a runner does."""
    view = (
        InfrastructureFactory[DjangoTrackingRecorder]
        .construct(Environment(registration.name, env))
        .tracking_recorder(registration.view_class)  # type: ignore[arg-type]
    )
    return view, registration.projection_class(view=view)


def note_failure(
    tracked: TrackedProjection, pk: int, error: str, traceback: str
) -> None:
    """Write down that an event has failed again, if it is still there."""
    failed_events(tracked).filter(pk=pk).update(
        error=error,
        error_kind=error_kind(error),
        traceback=traceback,
        attempts=F("attempts") + 1,
        attempted_at=timezone.now(),
    )
