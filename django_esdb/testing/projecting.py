"""A projection that runs in the test's own thread, connection and transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from eventsourcing.application import Application
from eventsourcing.domain import BaseAggregate
from eventsourcing.persistence import Notification, Recording, TrackingRecorder
from eventsourcing.projection import Projection

from django_esdb.applications.shared import get_application, make_application
from django_esdb.conf import build_env, settings
from django_esdb.handlers.functions import CheckedProjection
from django_esdb.recorders.recorder import DjangoTrackingRecorder
from django_esdb.registry import Registration, registry
from django_esdb.runner.batches.processor import BatchProcessor
from django_esdb.subscriptions.positions import check_same_store
from django_esdb.subscriptions.received import Decoder, ReceivedEvent
from django_esdb.topics.subscribed import is_among

MEMORY = "eventsourcing.popo"


def project(
    projection_class: type[Projection[Any]],
    events: Iterable[Any] | None = None,
    *,
    application_class: type[Application[Any]] | None = None,
    view_class: type[TrackingRecorder] | None = None,
    batch_size: int | None = None,
) -> Any:
    """
    Have a projection process events, here and now.

    Its statements are on the test's own connection and within its transaction, so it
    works in a ``TestCase``. Each event is encoded and decoded as its application does
    it. Events that are of no topic of the projection are not given to it.

    Args:
        projection_class: A registered projection, unless the other classes are said.
        events: Domain events in their order; an aggregate stands for its pending ones,
            and what ``save()`` has returned for what it has saved. They get the
            positions behind the last one that was processed. By default all that the
            application has recorded since then.
        application_class: By default the one it is registered with.
        view_class: By default the one it is registered with.
        batch_size: Most events in a batch; by default ``ESDB_BATCH_SIZE``.

    Returns:
        The view.

    Raises:
        NotRegisteredError: The projection is not registered.
        EventError: An event could not be decoded or processed; the handler's own error
            is its cause. Batches before it are processed.
        OtherStoreError: What was processed before is not of the application.
    """
    registration = registration_of(projection_class, application_class, view_class)
    projected = Projected(registration)
    size = batch_size or settings.ESDB_BATCH_SIZE
    if events is None:
        projected.catch_up(size)
    else:
        given = projected.received(flat(events))
        for start in range(0, len(given), size):
            projected.process(given[start : start + size])
    return projected.view


def registration_of(
    projection_class: type[Projection[Any]],
    application_class: type[Application[Any]] | None,
    view_class: type[TrackingRecorder] | None,
) -> Registration:
    """
    Return a projection's registration, or one with the classes that are said.

    Raises:
        NotRegisteredError: A class is not said, and the projection is not registered.
    """
    if application_class is None or view_class is None:
        known = registry.get(projection_class.name)
        application_class = application_class or known.application_class
        view_class = view_class or known.view_class
    return Registration(
        projection_class=projection_class,
        application_class=application_class,
        view_class=view_class,
    )


def flat(items: Iterable[Any]) -> list[Any]:
    """Return the domain events in events, aggregates, recordings and lists of them."""
    return list(_flat(items))


def _flat(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, list | tuple):
            yield from _flat(item)
        elif isinstance(item, BaseAggregate):
            yield from item.pending_events
        elif isinstance(item, Recording):
            yield item.domain_event
        else:
            yield item


def codec(application_class: type[Application[Any]]) -> Application[Any]:
    """Return an application that encodes and decodes as others of the class do."""
    env = build_env(application_class)
    prefix = f"{application_class.name.upper()}_"
    module = {"PERSISTENCE_MODULE": MEMORY, f"{prefix}PERSISTENCE_MODULE": MEMORY}
    return make_application(application_class, {**env, **module})


class Projected:
    """
    A projection with its view, in the calling thread.

    Attributes:
        registration: The projection's.
        view: Its view, under its name.
    """

    def __init__(self, registration: Registration) -> None:
        self.registration = registration
        self._application_name = registration.application_name
        view_class: Any = registration.view_class
        if issubclass(view_class, DjangoTrackingRecorder):
            self.view = view_class(name=registration.name)
        else:
            self.view = view_class()
        self._projection = registration.projection_class(view=self.view)
        self._processor: BatchProcessor | None = None
        if isinstance(self.view, DjangoTrackingRecorder):
            self._processor = BatchProcessor(
                self._projection, self.view, self._application_name
            )

    def received(self, events: Sequence[Any]) -> list[ReceivedEvent]:
        """Return events as they come from a store, behind those that were processed."""
        application = codec(self.registration.application_class)
        try:
            start = (self.view.max_tracking_id(self._application_name) or 0) + 1
            decoded = Decoder(self._application_name, application.mapper)
            received = []
            for position, event in enumerate(events, start):
                stored = application.mapper.to_stored_event(event)
                received.append(
                    decoded(
                        Notification(
                            id=position,
                            originator_id=stored.originator_id,
                            originator_version=stored.originator_version,
                            topic=stored.topic,
                            state=stored.state,
                        )
                    )
                )
            return received
        finally:
            application.close()

    def is_wanted(self, event: ReceivedEvent) -> bool:
        """Return whether an event is of the projection's topics."""
        return is_among(event.notification.topic, self.registration.topics)

    def process(self, events: Sequence[ReceivedEvent]) -> None:
        """Process the events that are the projection's, in one batch."""
        wanted = [event for event in events if self.is_wanted(event)]
        if self._processor is not None:
            if wanted:
                self._processor.process(wanted)
            return
        projection = CheckedProjection(self._projection)
        for event in wanted:
            if event.error is not None:
                raise event.error
            projection.process_event(event.domain_event, event.tracking)

    def catch_up(self, size: int) -> None:
        """Process what the application has recorded, in batches of some size."""
        application = get_application(self.registration.application_class)
        name = self._application_name
        decoded = Decoder(name, application.mapper)
        if isinstance(self.view, DjangoTrackingRecorder):
            check_same_store(application.recorder, self.view.tracked(name).row())
        head = application.recorder.max_notification_id()
        while True:
            position = self.view.max_tracking_id(name)
            page = application.recorder.select_notifications(
                start=position,
                limit=size,
                topics=self.registration.topics,
                inclusive_of_start=position is None,
            )
            if not page:
                break
            self.process([decoded(notification) for notification in page])
        is_behind = head is not None and head > (position or 0)
        if self._processor is not None and head is not None and is_behind:
            # So that waiting for an event of another topic ends at once.
            self._processor.save_checkpoint(head)
