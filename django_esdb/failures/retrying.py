"""
Trying failed events again.

Each event is tried in a transaction of its own, in order, with today's code. It is
read from the store again. The transaction begins with the projection's tracking row,
so the runner that owns the projection is not in a batch meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.models import F
from django.utils import timezone
from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactory, Notification, Tracking
from eventsourcing.projection import Projection
from eventsourcing.utils import Environment

from django_esdb.applications import make_application
from django_esdb.db.connections import close_if_lost
from django_esdb.db.errors import is_transient
from django_esdb.exceptions import FailedEventError
from django_esdb.failures.audit import Audit
from django_esdb.failures.parking import aggregate_key, failed_events
from django_esdb.failures.requests import Limits, forget_request, request_retry
from django_esdb.failures.resuming import resume
from django_esdb.handlers import CheckedProjection
from django_esdb.leases.lease import TrackedProjection
from django_esdb.models import FailedEvent
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration
from django_esdb.tracebacks import traceback_of
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


Report = Callable[[FailedEvent, str], None]


def _report_nothing(event: FailedEvent, error: str) -> None:
    pass


def retry_failed_events(
    registration: Registration,
    pk: int | None = None,
    *,
    report: Report = _report_nothing,
    limits: Limits | None = None,
    audit: Audit | None = None,
) -> Outcome:
    """
    Process failed events again, and resume a paused projection.

    Args:
        registration: The projection.
        pk: The one event to try; None for all. It has to be the first of its
            aggregate's.
        report: Called for each event that was tried, with why it failed, or an
            empty text.
        limits: How much to do; the rest is left for the background.
        audit: Notes what is done.

    Raises:
        FailedEventError: There is no such event, or it is not the first.
        PersistenceError: The event store cannot be used.
        django.db.Error: The database cannot be used.
    """
    tracked = registration.tracked()
    outcome = Outcome()
    limits, audit = limits or Limits(), audit or Audit()
    if pk is None:
        with transaction.atomic(using=tracked.using):
            outcome.resumed = resume(tracked)
            if outcome.resumed:
                audit.resumed()
    if not failed_events(tracked).exists():
        if pk is not None:
            raise unknown_event(tracked, pk)
        return outcome
    with _Retrying(registration, outcome, report, audit) as retrying:
        blocked: set[str] = set()
        for event in _chosen(tracked, pk):
            if not limits.allow_another():
                rest = failed_events(tracked).filter(position__gte=event.position)
                _leave(tracked, audit, outcome, rest.values_list("pk", flat=True))
                break
            if event.originator_id in blocked:
                outcome.waiting += 1
            elif not retrying.retry(event):
                blocked.add(event.originator_id)
    return outcome


def retry_selected(
    registration: Registration,
    pks: Collection[int],
    *,
    report: Report = _report_nothing,
    limits: Limits | None = None,
    audit: Audit | None = None,
) -> Outcome:
    """
    Process some failed events again, in the order of events.

    One that waits for an earlier event of its aggregate is not tried. Those that are
    not there any more are left out.

    Args:
        registration: The projection.
        pks: Which ones.
        report: Called for each event with why it is still there, or an empty text.
        limits: How much to do; the rest is left for the background.
        audit: Notes what is done.

    Raises:
        PersistenceError: The event store cannot be used.
        django.db.Error: The database cannot be used.
    """
    tracked = registration.tracked()
    outcome = Outcome()
    limits, audit = limits or Limits(), audit or Audit()
    events = list(failed_events(tracked).filter(pk__in=pks))
    if not events:
        return outcome
    with _Retrying(registration, outcome, report, audit) as retrying:
        for index, event in enumerate(events):
            if not limits.allow_another():
                _leave(tracked, audit, outcome, [each.pk for each in events[index:]])
                break
            forget_request(tracked, event)
            earlier = _earlier(tracked, event)
            if earlier is None:
                retrying.retry(event)
            else:
                outcome.waiting += 1
                report(event, _waits(event, earlier))
    return outcome


def _leave(
    tracked: TrackedProjection, audit: Audit, outcome: Outcome, pks: Iterable[int]
) -> None:
    """Have what a limit has left tried in the background."""
    with transaction.atomic(using=tracked.using):
        outcome.left = request_retry(tracked, audit, list(pks))
        audit.requested(outcome.left)


def _chosen(tracked: TrackedProjection, pk: int | None) -> Iterator[FailedEvent]:
    events = failed_events(tracked)
    if pk is None:
        # One by one, since the runner may put others behind them meanwhile.
        following = events.first()
        while following is not None:
            yield following
            following = events.filter(position__gt=following.position).first()
        return
    event = events.filter(pk=pk).first()
    if event is None:
        raise unknown_event(tracked, pk)
    earlier = _earlier(tracked, event)
    if earlier is not None:
        raise FailedEventError(_waits(event, earlier))
    yield event


def _earlier(tracked: TrackedProjection, event: FailedEvent) -> FailedEvent | None:
    before = failed_events(tracked).filter(
        originator_id=event.originator_id, position__lt=event.position
    )
    # Compared again, since not every database tells upper from lower case.
    same = (each for each in before if each.originator_id == event.originator_id)
    return next(same, None)


def _waits(event: FailedEvent, earlier: FailedEvent) -> str:
    return (
        f"Failed event {event.pk} waits for {earlier.pk}, an earlier one of the same "
        "aggregate; retry or discard that first"
    )


def unknown_event(tracked: TrackedProjection, pk: int) -> FailedEventError:
    """Return the error that says that there is no such failed event."""
    return FailedEventError(
        f"Projection {tracked.projection!r} has no failed event {pk}"
    )


class _Retrying:
    """
    The application, view and projection with which events are tried again.

    Args:
        registration: The projection.
        outcome: What to count in.
        report: Called for each event that was tried.
        audit: Notes each event, in its transaction.
    """

    def __init__(
        self,
        registration: Registration,
        outcome: Outcome,
        report: Report,
        audit: Audit,
    ) -> None:
        self._registration = registration
        self._tracked = registration.tracked()
        self._outcome = outcome
        self._report = report
        self._audit = audit

    def __enter__(self) -> _Retrying:
        registration = self._registration
        env = registration.env()
        self._app: Application[Any] = make_application(
            registration.application_class, env
        )
        try:
            name = registration.name
            self._view: DjangoTrackingRecorder = (
                InfrastructureFactory[DjangoTrackingRecorder]
                .construct(Environment(name, env))
                .tracking_recorder(
                    registration.view_class  # type: ignore[arg-type]
                )
            )
            self._projection: Projection[Any] = registration.projection_class(
                view=self._view
            )
        except BaseException:
            self._app.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._app.close()

    def retry(self, event: FailedEvent) -> bool:
        """
        Process an event, count and report it; return whether it is resolved.

        What may pass by itself is reported, and not written down as its failure.
        """
        error = self._process(event)
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
                with self._resolving(event) as (is_there, begin):
                    if not is_there:
                        # It was resolved elsewhere in the meantime.
                        return None
                    domain_event = self._app.mapper.to_domain_event(notification)
                    tracking = Tracking(self._tracked.application, notification.id)
                    begin(tracking)
                    checked = CheckedProjection(self._projection)
                    with handling(notification):
                        checked.process_event(domain_event, tracking)
                    self._audit.retried(event, "")
                    return None
            except KeyboardInterrupt:
                # More likely the command's than the handler's.
                raise
            except BaseException as problem:
                error, place = named_line(problem), traceback_of(problem)
                if is_transient(problem):
                    self._require_database(problem)
                    self._audit.retried(event, error)
                    return error
        with transaction.atomic(using=self._tracked.using):
            failed_events(self._tracked).filter(pk=event.pk).update(
                error=error,
                traceback=place,
                attempts=F("attempts") + 1,
                attempted_at=timezone.now(),
            )
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
        self, event: FailedEvent
    ) -> Iterator[tuple[bool, Callable[[Tracking], None]]]:
        with self._view.batch_in_place(self._tracked.application) as batch:
            is_there = bool(
                failed_events(self._tracked).filter(pk=event.pk).order_by().delete()[0]
            )
            yield is_there, batch.begin

    def _read(self, event: FailedEvent) -> Notification | None:
        found = self._app.recorder.select_notifications(
            start=event.position, limit=1, stop=event.position
        )
        for notification in found:
            if (
                notification.id == event.position
                and aggregate_key(notification) == event.originator_id
                and notification.originator_version == event.originator_version
            ):
                return notification
        return None
