"""From whatever ended a term to an error that says so of the projection."""

from __future__ import annotations

from django.db import Error as DatabaseError
from eventsourcing.persistence import PersistenceError

from django_esdb.applications.store_address import store_hint
from django_esdb.conf import settings
from django_esdb.db.errors import is_transient
from django_esdb.exceptions import (
    DjangoEsdbError,
    EventCrashError,
    EventError,
    EventProcessingError,
    ProjectionError,
    UndecodableEventError,
)
from django_esdb.models import ProjectionState
from django_esdb.policies import FailurePolicy
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration
from django_esdb.subscriptions.received import ReceivedEvent
from eventsourcing_eventstoredb.text import counted, describe, named_line, one_line


def projection_error(
    registration: Registration, error: BaseException, *, has_begun: bool
) -> ProjectionError:
    """Return an error whose text is a line about the projection."""
    if isinstance(error, ProjectionError):
        return error
    verb = "failed" if has_begun else "cannot run"
    line = one_line(error) if isinstance(error, DjangoEsdbError) else named_line(error)
    hint = store_hint(registration.application_class, error)
    failure = ProjectionError(f"Projection {registration.name!r} {verb}: {line}{hint}")
    failure.__cause__ = error
    return failure


def event_error(
    projection: str, event: ReceivedEvent, error: BaseException
) -> EventError:
    """Return an error that says at which event a projection has met another one."""
    where = describe(event.notification)
    failure: EventError
    if error is event.error:
        failure = UndecodableEventError(
            f"Projection {projection!r} stopped at an event that it cannot decode: "
            f"{where}: {one_line(error)}"
        )
    else:
        failure = EventProcessingError(
            f"Projection {projection!r} stopped at an event that it failed to "
            f"process: {where}: {named_line(error)}"
        )
    failure.position = event.notification.id
    failure.__cause__ = error
    return failure


def crash_error(projection: str, event: ReceivedEvent, crashes: int) -> EventError:
    """Return an error that says at which event processes have ended, and how often."""
    failure = EventCrashError(
        f"Projection {projection!r} stopped at an event at which its process has ended "
        f"{counted(crashes, 'time', 'times')}: {describe(event.notification)}"
    )
    failure.position = event.notification.id
    return failure


def note_brake(failure: EventError) -> None:
    """Add to an error's text that it is not skipped, as those before it were."""
    most = settings.ESDB_MAX_SKIPPED
    said = counted(most, "event in a row has", "events in a row have")
    failure.args = (
        f"{failure}; more than {said} failed, so something else is wrong, and this "
        "one is not skipped",
    )


def end_state(error: BaseException) -> ProjectionState:
    """Return what a projection is at when an error has ended it."""
    if isinstance(error, EventError):
        return ProjectionState.PAUSED
    if isinstance(error, DjangoEsdbError | PersistenceError | DatabaseError):
        return ProjectionState.STOPPED
    # Something unforeseen has ended its thread.
    return ProjectionState.FAILED


def blame_event(
    registration: Registration,
    policy: FailurePolicy,
    error: BaseException,
    position: int | None,
) -> None:
    """
    Raise another error, where an event must be at fault and is not named.

    Views that are not on the ORM are run by the library, which does not say at which
    event a handler failed.

    Args:
        registration: The projection, which has begun.
        policy: Counts the failure.
        error: What ended its term.
        position: Of the last processed event; None if there is none.

    Raises:
        EventProcessingError: With *error* as its cause.
    """
    if (
        issubclass(registration.view_class, DjangoTrackingRecorder)
        or is_transient(error)
        or isinstance(error, DjangoEsdbError)
    ):
        return
    failure = EventProcessingError(
        f"Projection {registration.name!r} stopped at an event that it failed to "
        f"process: the first of its events after position {position}: "
        f"{named_line(error)}"
    )
    failure.position = position or 0
    policy.failed(failure.position)
    raise failure from error
