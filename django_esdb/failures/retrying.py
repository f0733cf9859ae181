"""
Trying failed events again.

Each event is tried in a transaction of its own, in order, with today's code. It is
read from the store again. The transaction begins with the projection's tracking row,
so the runner that owns the projection is not in a batch meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from django.db import transaction

from django_esdb.exceptions import FailedEventError
from django_esdb.failures.attempts import Attempts, Outcome, Report, RetryClock
from django_esdb.failures.audit import Audit
from django_esdb.failures.parking import failed_events
from django_esdb.failures.requests import Limits, forget_request, request_retry
from django_esdb.failures.resuming import resume
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import FailedEvent, FailedEventQuerySet
from django_esdb.registry import Registration


def _report_nothing(event: FailedEvent, error: str) -> None:
    pass


def retry_failed_events(
    registration: Registration,
    pk: int | None = None,
    *,
    resumes: bool = True,
    report: Report = _report_nothing,
    limits: Limits | None = None,
    audit: Audit | None = None,
    clock: RetryClock | None = None,
) -> Outcome:
    """
    Process failed events again, and resume a paused projection.

    Args:
        registration: The projection.
        pk: The one event to try; None for all. It has to be the first of its
            aggregate's.
        resumes: Whether to resume it, if all are tried.
        report: Called for each event that was tried, with why it failed, or an
            empty text.
        limits: How much to do; the rest is left for the background.
        audit: Notes what is done.
        clock: Told of each event; None if hangs are not watched for.

    Raises:
        FailedEventError: There is no such event, or it is not the first.
        PersistenceError: The event store cannot be used.
        django.db.Error: The database cannot be used.
    """
    tracked = registration.tracked()
    outcome = Outcome()
    limits, audit = limits or Limits(), audit or Audit()
    if pk is None and resumes:
        with transaction.atomic(using=tracked.using):
            outcome.resumed = resume(tracked)
            if outcome.resumed:
                audit.resumed()
    if not failed_events(tracked).exists():
        if pk is not None:
            raise unknown_event(tracked, pk)
        return outcome
    with Attempts(registration, outcome, report, audit, clock) as retrying:
        blocked: set[str] = set()
        for event in _chosen(tracked, pk):
            if not limits.allow_another():
                rest = failed_events(tracked).filter(position__gte=event.position)
                outcome.left = leave(tracked, audit, rest)
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
    clock: RetryClock | None = None,
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
        clock: Told of each event; None if hangs are not watched for.

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
    with Attempts(registration, outcome, report, audit, clock) as retrying:
        for index, event in enumerate(events):
            if not limits.allow_another():
                pks = [each.pk for each in events[index:]]
                rest = failed_events(tracked).filter(pk__in=pks)
                outcome.left = leave(tracked, audit, rest)
                break
            forget_request(tracked, event)
            earlier = _earlier(tracked, event)
            if earlier is None:
                retrying.retry(event)
            else:
                outcome.waiting += 1
                report(event, _waits(event, earlier))
    return outcome


def leave(tracked: TrackedProjection, audit: Audit, events: FailedEventQuerySet) -> int:
    """
    Have events tried in the background, however many they are; in a transaction.

    Args:
        tracked: The projection.
        audit: Notes who asks for it.
        events: Which ones, all of this projection.

    Returns:
        How many there are.
    """
    with transaction.atomic(using=tracked.using):
        left = request_retry(audit, events.using(tracked.using))
        audit.requested(left)
    return left


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
    before = (
        failed_events(tracked)
        .of_aggregates([event.originator_id])
        .filter(position__lt=event.position)
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
