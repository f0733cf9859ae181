"""The app's own errors; which errors of others may pass says ``db/errors.py``."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from eventsourcing.persistence import IntegrityError


class DjangoEsdbError(Exception):
    """Base class of this app's errors; do not raise it itself."""


class AlreadyRegisteredError(DjangoEsdbError):
    """A projection of this name is registered."""


class NotRegisteredError(DjangoEsdbError):
    """No projection of this name is registered."""


class ConfigurationError(DjangoEsdbError, ImproperlyConfigured):
    """A setting or a projection's definition cannot be used as it is."""


class MissingExtraError(ConfigurationError, ImportError):
    """A package is not installed that an extra of this one installs."""


class ViewDatabaseError(ConfigurationError):
    """A view's rows and its position would not be in one transaction."""


class BuildBesideError(ConfigurationError):
    """A handler would change rows in use from a rebuild that is made next to them."""


class WaitInTransactionError(DjangoEsdbError):
    """Waiting here cannot succeed: the transaction would not see the write."""


class NotProcessedError(DjangoEsdbError, TimeoutError):
    """Waiting for an event has ended early: it was put aside, or will not come soon."""

    def __init__(self, projection: str, position: int, reason: str) -> None:
        super().__init__(
            f"Projection {projection!r} has not processed notification {position}: "
            f"{reason}; see manage.py showprojections"
        )


class UnregisteredWaitError(NotRegisteredError, TimeoutError):
    """Waiting cannot succeed: no projection of the view's name has ever been run."""

    def __init__(self, projection: str, position: int, reason: str) -> None:
        super().__init__(
            f"Projection {projection!r} has not processed notification {position}: "
            f"it was never run. {reason}"
        )


class DryRunError(DjangoEsdbError):
    """Events cannot be processed without leaving anything, or there are none."""


class NotInDryRunError(DjangoEsdbError):
    """A handler has tried what could not be undone."""


class ProjectionError(DjangoEsdbError):
    """
    A projection stopped and will not continue by itself.

    The text is one line that says why. Nothing is lost: position and rows are
    as they were after the last event that was processed.
    """


class EventError(ProjectionError):
    """
    A projection stopped at an event; the text says at which one.

    Attributes:
        position: The event's position; None if it is not known.
    """

    position: int | None = None


class UndecodableEventError(EventError):
    """An event's topic does not resolve, or its data does not decode."""


class EventProcessingError(EventError):
    """A projection's own code raised an error for an event."""


class EventCrashError(EventError):
    """The process that worked on an event ended, several times."""


class EventHangError(EventError):
    """
    A projection's code has worked on an event for longer than it may.

    Attributes:
        stack: Where it is, innermost last, as in a traceback; without values.
        failed_event: The failed event that was tried again, by its number; None if it
            is another one.
    """

    stack: str = ""
    failed_event: int | None = None


class LeaseHeldError(ProjectionError):
    """
    Another process runs the projection.

    Attributes:
        owner: Its name, as owners of leases have it; empty if it is not known.
        is_rebuild: Whether it rebuilds it, and gives it back then, or may do so.
    """

    owner: str = ""
    is_rebuild: bool = False


class LeaseLostError(ProjectionError):
    """
    Another process has taken over the projection, or it was reset or paused.

    Attributes:
        was_reset: Whether it was reset or rebuilt, and no process runs it, or one that
            will give it back.
        was_paused: Whether it was paused by hand, and no process runs it.
    """

    was_reset: bool = False
    was_paused: bool = False


class ProjectionPausedError(ProjectionError):
    """The projection is paused; the text says why."""


class OtherStoreError(ProjectionError):
    """The events are not those that the position and the rows come from."""


class RedactionError(DjangoEsdbError):
    """It is not known what of a payload may be shown; the text says nothing of it."""


class PositionMovedError(DjangoEsdbError, IntegrityError):
    """A projection's position is not where its runner has left it."""


class FailedEventError(DjangoEsdbError):
    """A failed event cannot be tried again or discarded; the text says why."""


class NothingToBuildError(DjangoEsdbError):
    """A projection has processed nothing, so its rows cannot be built a second time."""


class BuildBehindError(DjangoEsdbError):
    """A build cannot take the place of rows that come from other events than it."""


class NoSuchAggregateError(DjangoEsdbError):
    """The event store has no events of an aggregate."""
