"""Events as they were received, decoded or not."""

from __future__ import annotations

from typing import Any

from eventsourcing.persistence import Mapper, Notification, Tracking

# The constructor of Tracking, which is frozen, takes twice as long.
_new = object.__new__


class ReceivedEvent:
    """
    An event as it was read, in the order of the application's notifications.

    Attributes:
        tracking: Its position.
        notification: As it is stored.
        domain_event: What the projection is given; None if that failed.
        error: Why it could not be decoded, else None.
    """

    __slots__ = ("domain_event", "error", "notification", "tracking")

    def __init__(
        self,
        tracking: Tracking,
        notification: Notification,
        domain_event: Any,
        error: BaseException | None,
    ) -> None:
        self.tracking = tracking
        self.notification = notification
        self.domain_event = domain_event
        self.error = error


class LateEvent(ReceivedEvent):
    """
    An event that is not decoded before it is to be.

    Args:
        tracking: Its position.
        notification: As it is stored.
        decoder: Decodes it.
    """

    __slots__ = ("_decoder",)

    def __init__(
        self, tracking: Tracking, notification: Notification, decoder: Decoder
    ) -> None:
        super().__init__(tracking, notification, None, None)
        self._decoder: Decoder | None = decoder

    def decode(self) -> None:
        """Decode it, if that was not done."""
        if self._decoder is not None:
            decoded, self._decoder = self._decoder(self.notification), None
            self.domain_event, self.error = decoded.domain_event, decoded.error


class Decoder:
    """
    Makes received events of notifications.

    What the mapper raises becomes the event's.

    Args:
        application_name: The application that has recorded them.
        mapper: The application's.
    """

    def __init__(self, application_name: str, mapper: Mapper[Any]) -> None:
        self._application_name = application_name
        self._to_domain_event = mapper.to_domain_event

    def __call__(self, notification: Notification) -> ReceivedEvent:
        """Decode a notification."""
        tracking = self._tracking(notification)
        try:
            domain_event = self._to_domain_event(notification)
        except BaseException as error:
            # Also what would end the thread: it was raised for this event.
            return ReceivedEvent(tracking, notification, None, error)
        return ReceivedEvent(tracking, notification, domain_event, None)

    def late(self, notification: Notification) -> LateEvent:
        """Return an event that is decoded later."""
        return LateEvent(self._tracking(notification), notification, self)

    def _tracking(self, notification: Notification) -> Tracking:
        tracking = _new(Tracking)
        tracking.__dict__.update(
            application_name=self._application_name, notification_id=notification.id
        )
        return tracking
