"""One term of one projection: the library's runner with exact transactions."""

from __future__ import annotations

import weakref
from threading import Event
from time import monotonic
from typing import Any

from django.conf import settings as django_settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, connections, reset_queries
from eventsourcing import projection as library
from eventsourcing.persistence import (
    IntegrityError,
    Notification,
    OperationalError,
    Tracking,
)
from eventsourcing.projection import ApplicationSubscription, Projection

from django_esdb.exceptions import (
    ConfigurationError,
    EventError,
    EventProcessingError,
    UndecodableEventError,
)
from django_esdb.recorders import DjangoTrackingRecorder

# A connection that was idle this long may have been closed by the database.
_IDLE_SECONDS = 5.0


class ProjectionRunner(library.ProjectionRunner[Any, Any]):
    """
    Runs a projection as the library's runner does, one transaction an event.

    The view's position moves with every event, whether or not the projection
    has something to do for it. An error names the event it came from.
    """

    def is_caught_up(self, head: int | None) -> bool:
        """
        Return whether everything up to *head* is processed and committed.

        Asks the database, and the event store for events that are left.

        Args:
            head: A notification ID; None is always reached.
        """
        position = self.view.max_tracking_id(self.app_name)
        if head is None or (position is not None and position >= head):
            return True
        return not self.app.recorder.select_notifications(
            start=position,
            limit=1,
            stop=head,
            topics=self.projection.topics,
            inclusive_of_start=False,
        )

    @staticmethod
    def _process_events_loop(
        subscription: ApplicationSubscription[Any],
        projection: library.EventSourcedProjection[Any] | Projection[Any],
        is_stopping: Event,
        runner: weakref.ReferenceType[Any],
    ) -> None:
        """Take the library's hook: it runs in the event-processing thread."""
        view = getattr(projection, "view", None)
        if not isinstance(view, DjangoTrackingRecorder) or not isinstance(
            subscription, ApplicationSubscription
        ):
            library.ProjectionRunner._process_events_loop(
                subscription, projection, is_stopping, runner
            )
            return
        try:
            _process_events(subscription, projection, view)
        except BaseException as error:
            this_runner = runner()
            if this_runner is not None:
                this_runner._thread_error = error
        finally:
            # This thread's own; nobody else could close them.
            connections.close_all()
            is_stopping.set()


def _process_events(
    subscription: ApplicationSubscription[Any],
    projection: library.EventSourcedProjection[Any] | Projection[Any],
    view: DjangoTrackingRecorder,
) -> None:
    view.ensure_row(subscription.name)
    position = view.max_tracking_id(subscription.name)
    waiting_since = monotonic()
    for notification in subscription.subscription:
        if monotonic() - waiting_since > _IDLE_SECONDS:
            close_old_connections()
        tracking = Tracking(subscription.name, notification.id)
        event = _decode(subscription, projection.name, notification)
        with view.processing(tracking, position):
            _process(projection, event, tracking, notification)
        position = notification.id
        if django_settings.DEBUG:
            # Otherwise the log of queries grows for ever.
            reset_queries()
        waiting_since = monotonic()


def _decode(
    subscription: ApplicationSubscription[Any], name: str, notification: Notification
) -> Any:
    try:
        return subscription.mapper.to_domain_event(notification)
    except Exception as error:
        msg = (
            f"Projection {name!r} stopped at an event that it cannot decode: "
            f"{describe(notification)}: {one_line(error)}"
        )
        raise UndecodableEventError(msg) from error


def _process(
    projection: library.EventSourcedProjection[Any] | Projection[Any],
    event: Any,
    tracking: Tracking,
    notification: Notification,
) -> None:
    try:
        projection.process_event(event, tracking)
    except (DatabaseError, OperationalError, ConfigurationError, EventError) as error:
        # The supervisor decides by class whether trying again can help.
        if is_transient(error) or isinstance(error, (ConfigurationError, EventError)):
            raise
        raise _processing_error(projection.name, notification, error) from error
    except Exception as error:
        raise _processing_error(projection.name, notification, error) from error


def _processing_error(
    name: str, notification: Notification, error: Exception
) -> EventProcessingError:
    return EventProcessingError(
        f"Projection {name!r} stopped at an event that it failed to process: "
        f"{describe(notification)}: {type(error).__name__}: {one_line(error)}"
    )


def is_transient(error: BaseException) -> bool:
    """
    Return whether the same may succeed later without anybody's doing.

    That is so for a lost connection, a locked database or a server that is not
    ready, and for a position that another process has moved.
    """
    from django.db import InterfaceError as DatabaseInterfaceError
    from django.db import OperationalError as DatabaseOperationalError

    return isinstance(
        error,
        (
            OperationalError,
            IntegrityError,
            DatabaseOperationalError,
            DatabaseInterfaceError,
        ),
    )


def describe(notification: Notification) -> str:
    """Return where an event is and what it is, without its data."""
    return (
        f"topic {notification.topic!r}, stream '{notification.originator_id}', "
        f"version {notification.originator_version}, position {notification.id}"
    )


def one_line(error: BaseException) -> str:
    """Return an error's text without line breaks, its class name if empty."""
    return " ".join(str(error).split()) or type(error).__name__
