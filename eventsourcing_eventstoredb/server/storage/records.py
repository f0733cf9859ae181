"""
What the log holds: records of events, and what a client proposes to append.

Plain values without behaviour; nothing here knows gRPC or SQLite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

NO_STREAM: Final = -1
ANY: Final = -2
STREAM_EXISTS: Final = -4

# The largest position, event number and "truncate before" of the protocol. As an
# event number it marks the tombstone of a stream.
MAX_NUMBER: Final = 2**63 - 1

LINK_TYPE: Final = "$>"
METADATA_TYPE: Final = "$metadata"
TOMBSTONE_TYPE: Final = "$streamDeleted"

_RECORD_OVERHEAD_BYTES = 88


class Record(NamedTuple):
    """
    One recorded event.

    Attributes:
        position: Place in the log; increasing, with gaps.
        stream: Name of the stream that it was written to.
        number: Place in the stream, from 0; `MAX_NUMBER` for a tombstone.
        id: The 16 bytes of the event's UUID.
        type: Type name of the event.
        is_json: Whether the writer declared the data to be JSON.
        created: Time of writing, in ticks of 100 ns since the Unix epoch.
        data: The event's body.
        custom_metadata: The writer's own metadata.
    """

    position: int
    stream: str
    number: int
    id: bytes
    type: str
    is_json: int
    created: int
    data: bytes
    custom_metadata: bytes


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that a client proposes to append."""

    id: bytes
    type: str
    is_json: bool
    data: bytes
    custom_metadata: bytes = b""


class StreamState(NamedTuple):
    """
    What the log knows of a stream that was written to.

    Attributes:
        key: The stream's key in the database.
        last_number: Number of its last event; `MAX_NUMBER` once tombstoned.
    """

    key: int
    last_number: int

    @property
    def is_tombstoned(self) -> bool:
        return self.last_number == MAX_NUMBER


def record_length(stream: str, event_type: str, data: bytes, metadata: bytes) -> int:
    """
    Tell by how many positions a record of these parts moves the log on.

    The lengths are those of EventStoreDB's own log format, so positions have gaps
    as large as the real ones.
    """
    return (
        _RECORD_OVERHEAD_BYTES
        + _text_length(stream)
        + _text_length(event_type)
        + len(data)
        + len(metadata)
    )


def _text_length(text: str) -> int:
    length = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    prefix = 1
    while length >> (7 * prefix):
        prefix += 1
    return length + prefix
