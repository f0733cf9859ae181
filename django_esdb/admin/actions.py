"""What the admin does about failed events, and how it says what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.db import Error as DatabaseError
from django.db import router
from django.utils.translation import gettext, ngettext

from django_esdb.admin.unregistered import why_unprocessable
from django_esdb.conf import settings
from django_esdb.failures.attempts import Outcome, Report
from django_esdb.failures.audit import AdminAudit
from django_esdb.failures.discarding import discard_selected
from django_esdb.failures.requests import Limits
from django_esdb.failures.resuming import is_run
from django_esdb.failures.retrying import leave, retry_failed_events, retry_selected
from django_esdb.leases.tracked import TrackedProjection
from django_esdb.models import FailedEvent, FailedEventQuerySet, ProjectionTracking
from django_esdb.registry import Registration
from django_esdb.status.rows import registration_of
from django_esdb.status.status import shown
from eventsourcing_eventstoredb.logs import log
from eventsourcing_eventstoredb.text import named_line

logger = logging.getLogger("django_esdb.admin")


# In a web request, of which each has to end soon; the rest is for the background.
MOST_RETRIED = 100
# Of the seconds after which nothing can be read from the event store.
_PART_OF_DEADLINE = 0.8


@dataclass
class Retried:
    """
    What came of a projection's failed events.

    Attributes:
        projection: Its name.
        events: Those that were looked at, each with why it is still there.
        outcome: How many there were of each kind; None if it was broken off.
        failure: Why it was broken off, or could not be begun.
        is_run: Whether a process runs it, where events are left for the background.
    """

    projection: str
    events: list[tuple[FailedEvent, str]] = field(default_factory=list)
    outcome: Outcome | None = None
    failure: str = ""
    is_run: bool = True

    @property
    def level(self) -> int:
        """Return the level of the message, as django.contrib.messages has them."""
        if self.outcome is None:
            return messages.ERROR
        if self.outcome.failed or self.outcome.waiting or self.outcome.left:
            return messages.WARNING
        is_changed = self.outcome.resolved or self.outcome.resumed
        return messages.SUCCESS if is_changed else messages.INFO

    @property
    def text(self) -> str:
        """Return what to say of it, in a line."""
        name = shown(self.projection, 100)
        if self.outcome is None:
            resolved = sum(1 for _, error in self.events if not error)
            if not self.events:
                return f"{name}: {self.failure}"
            return gettext("%(projection)s: %(done)s, then: %(reason)s") % {
                "projection": name,
                "done": _processed(resolved),
                "reason": self.failure,
            }
        text = f"{name}: {', '.join(_parts(self.outcome))}"
        if self.outcome.resumed:
            text += gettext("; it was paused and is resumed")
        if self.outcome.left:
            text += "; " + self._left(self.outcome.left)
        for event, error in self.events:
            if error:
                return gettext(
                    "%(text)s. The first: %(number)s at %(position)s: %(reason)s"
                ) % {
                    "text": text,
                    "number": event.pk,
                    "position": event.position,
                    "reason": error,
                }
        return text

    def _left(self, count: int) -> str:
        text = ngettext(
            "%(count)s is left, which runprojections tries in the background",
            "%(count)s are left, which runprojections tries in the background",
            count,
        ) % {"count": count}
        if not self.is_run:
            text += gettext(", but no process runs it: start runprojections")
        return text


def _parts(outcome: Outcome) -> Iterator[str]:
    yield _processed(outcome.resolved)
    if outcome.failed:
        yield ngettext(
            "%(count)s failed again", "%(count)s failed again", outcome.failed
        ) % {"count": outcome.failed}
    if outcome.waiting:
        yield ngettext(
            "%(count)s waits for an earlier one",
            "%(count)s wait for an earlier one",
            outcome.waiting,
        ) % {"count": outcome.waiting}


def _processed(count: int) -> str:
    return ngettext("%(count)s processed", "%(count)s processed", count) % {
        "count": count
    }


def request_limits() -> Limits:
    """Return how much a web request does of what it was asked for."""
    return Limits(MOST_RETRIED, settings.ESDB_WEB_DEADLINE * _PART_OF_DEADLINE)


def retry_projection(
    row: ProjectionTracking, user: Any, limits: Limits, *, resumes: bool = True
) -> Retried:
    """
    Process all failed events of a projection again, and resume it if paused.

    Args:
        row: The projection's.
        user: Primary key of who asks for it.
        limits: How much to do in this request.
        resumes: Whether to resume it.
    """

    def retry(registration: Registration, report: Report) -> Outcome:
        audit = AdminAudit(user, registration.tracked())
        return retry_failed_events(
            registration, resumes=resumes, report=report, limits=limits, audit=audit
        )

    return _retry(row, retry)


def retry_events(
    events: Iterable[FailedEvent], user: Any, limits: Limits
) -> list[Retried]:
    """
    Process some failed events again, each projection's in order.

    Args:
        events: Which.
        user: Primary key of who asks for it.
        limits: How much to do in this request.
    """
    return [_retry_group(group, user, limits) for group in _by_projection(events)]


def leave_events(events: FailedEventQuerySet, user: Any) -> list[Retried]:
    """
    Have failed events tried by what runs their projections, however many they are.

    Args:
        events: Which; they are counted and changed in the database alone.
        user: Primary key of who asks for it.
    """
    names = ("projection", "application")
    pairs = events.order_by(*names).values_list(*names).distinct()
    groups = (events.filter(projection=one, application=of) for one, of in pairs)
    return [_leave_group(group, user) for group in groups]


def discard_events(
    events: Iterable[FailedEvent], user: Any
) -> tuple[list[FailedEvent], str]:
    """
    Leave out failed events for good, each projection's in a transaction.

    Args:
        events: Which.
        user: Primary key of who asks for it.

    Returns:
        Those that were still there, and why it was broken off; that text is empty
        if it was not.
    """
    discarded: list[FailedEvent] = []
    for group in _by_projection(events):
        pks = [event.pk for event in group]
        try:
            tracked = _tracked(group[0])
            discarded += discard_selected(tracked, pks, AdminAudit(user, tracked))
        except DatabaseError as error:
            return discarded, shown(named_line(error))
    return discarded, ""


def _retry_group(group: Sequence[FailedEvent], user: Any, limits: Limits) -> Retried:
    def retry(registration: Registration, report: Report) -> Outcome:
        pks = [event.pk for event in group]
        audit = AdminAudit(user, registration.tracked())
        return retry_selected(
            registration, pks, report=report, limits=limits, audit=audit
        )

    return _retry(group[0], retry)


def _leave_group(group: FailedEventQuerySet, user: Any) -> Retried:
    def retry(registration: Registration, report: Report) -> Outcome:
        tracked = registration.tracked()
        return Outcome(left=leave(tracked, AdminAudit(user, tracked), group))

    return _retry(group[0], retry)


def _retry(
    row: ProjectionTracking | FailedEvent,
    retry: Callable[[Registration, Report], Outcome],
) -> Retried:
    retried = Retried(row.projection)
    registration = registration_of(row)
    if registration is None:
        retried.failure = why_unprocessable(row)
        return retried

    def report(event: FailedEvent, error: str) -> None:
        retried.events.append((event, shown(error)))

    try:
        retried.outcome = retry(registration, report)
        if retried.outcome.left:
            retried.is_run = is_run(registration.tracked())
    except Exception as error:
        # The user who asked for it must see any error, and what was done.
        retried.failure = shown(named_line(error))
        log(
            logger,
            logging.ERROR,
            "Retry broken off",
            projection=registration.name,
            application=registration.application_name,
            error=retried.failure,
        )
    return retried


def _by_projection(events: Iterable[FailedEvent]) -> list[list[FailedEvent]]:
    groups: dict[tuple[str, str], list[FailedEvent]] = {}
    for event in events:
        groups.setdefault((event.projection, event.application), []).append(event)
    return [groups[key] for key in sorted(groups)]


def _tracked(event: FailedEvent) -> TrackedProjection:
    registration = registration_of(event)
    if registration is not None:
        return registration.tracked()
    # What no code is left for can still be discarded.
    using = router.db_for_write(FailedEvent, instance=event)
    return TrackedProjection(using, event.projection, event.application)
