"""This package's errors; the ``eventsourcing`` library's are their bases."""

from __future__ import annotations

from eventsourcing.persistence import DataError, OperationalError, ProgrammingError


def is_logged_outage(error: BaseException) -> bool:
    """
    Return whether an error comes of servers that are away.

    This package logs that by itself, once for all who use them, if it lasts.
    """
    found: BaseException | None = error
    while found is not None:
        if getattr(found, "is_outage", False):
            return True
        found = found.__cause__
    return False


class DisconnectedError(OperationalError):
    """A subscription has lost its server, and resumes by itself."""

    is_outage = True


class NodeBehindError(OperationalError):
    """A node of a cluster has yet to reach a position, which another one has."""


class TopicNotAllowedError(DataError):
    """A stored topic is none of those that may be resolved."""


class PositionRefusedError(ProgrammingError):
    """The server refuses to begin at a position, where perhaps no event is."""


class UnknownPositionError(PositionRefusedError):
    """
    The store does not have a position that was to be read from.

    Attributes:
        position: The position.
        head: The position of the store's last event, None if it has none.
    """

    def __init__(self, position: int, head: int | None) -> None:
        self.position = position
        self.head = head
        where = (
            "the store is empty"
            if head is None
            else f"the store's last event is at position {head}"
        )
        super().__init__(
            f"Subscribing to all streams: there is no event at position {position}; "
            f"{where}. This is another store, or it was emptied or restored from a "
            "backup after this position was saved. Rebuild what was made from its "
            "events, so that it begins at the first one, or connect to the store that "
            "has them"
        )


class ReplacedStoreError(PositionRefusedError):
    """
    Where an event was received, the store has another one now.

    Attributes:
        position: The event's.
    """

    def __init__(self, position: int) -> None:
        self.position = position
        super().__init__(
            f"Subscribing to all streams: the event at position {position} is another "
            "one than was received from there. This is another store, or it was "
            "emptied or restored from a backup meanwhile. Rebuild what was made from "
            "its events, so that it begins at the first one, or connect to the store "
            "that has them"
        )
