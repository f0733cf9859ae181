"""Events as they lie in the store, by any client, none of them decoded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eventsourcing_eventstoredb.metadata import decoded
from eventsourcing_eventstoredb.streams.mapping import (
    SNAPSHOT_STREAM_PREFIX,
    recorded_time,
)

# EventStoreDB's own type of records that stand for an event in another stream.
_LINK_TYPE = "$>"


@dataclass(frozen=True, kw_only=True)
class BrowsedEvent:
    """
    An event as it is stored.

    Attributes:
        position: Its commit position in the log of all streams.
        stream: Its stream's name.
        stream_position: Where it lies in its stream, from 0 on.
        event_id: A UUID as text.
        topic: Its type.
        time: When the server recorded it, in UTC; None if it does not say.
        content_type: Of the data.
        data: What the event says, maybe compressed or encrypted.
        metadata: What is said about it, without its version.
        is_snapshot: Whether it stands for earlier ones of an aggregate.
    """

    position: int
    stream: str
    stream_position: int
    event_id: str
    topic: str
    time: datetime | None
    content_type: str
    data: bytes
    metadata: dict[str, str]
    is_snapshot: bool

    @property
    def target(self) -> tuple[str, int] | None:
        """The stream of the event that it links to, and the place there; or None."""
        if self.topic != _LINK_TYPE:
            return None
        place, _, stream = str(self.data, "utf-8", "replace").partition("@")
        is_place = place.isascii() and place.isdecimal() and len(place) < 19
        return (stream, int(place)) if is_place and stream else None


def browsed(recorded: Any) -> BrowsedEvent:
    """Return an event as a read returns it."""
    name = str(recorded.stream_identifier.stream_name, "utf-8", "replace")
    return BrowsedEvent(
        position=int(recorded.commit_position),
        stream=name,
        stream_position=int(recorded.stream_revision),
        event_id=recorded.id.string,
        topic=recorded.metadata["type"],
        time=recorded_time(recorded.metadata["created"]),
        content_type=recorded.metadata["content-type"],
        data=recorded.data,
        metadata=decoded(recorded.custom_metadata),
        is_snapshot=name.startswith(SNAPSHOT_STREAM_PREFIX),
    )
