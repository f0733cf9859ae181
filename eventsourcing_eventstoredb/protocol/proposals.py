"""What will be appended, and where, and what has been; loads no gRPC."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from eventsourcing_eventstoredb.protocol.event_ids import new_event_id


class StreamState(Enum):
    """What a stream has to be like, where no position of its last event is meant."""

    ANY = "any"
    NO_STREAM = "no_stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedEvent:
    """
    An event to append.

    Attributes:
        type: Its type; must not be empty.
        data: What it says.
        metadata: What is said about it.
        content_type: ``application/json`` or ``application/octet-stream``.
        id: By this the server recognises a repeated append, so make each event once
            and keep it through every retry.
    """

    type: str
    data: bytes
    metadata: bytes = b""
    content_type: str = "application/octet-stream"
    id: UUID = field(default_factory=new_event_id)


@dataclass(frozen=True, slots=True)
class Appended:
    """
    Where an append has brought a stream.

    Attributes:
        stream_position: Position in the stream of the last event that was appended.
        commit_position: Position in the store of that event.
    """

    stream_position: int
    commit_position: int
