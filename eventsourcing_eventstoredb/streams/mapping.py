"""
Between the library's stored events and EventStoreDB's: names, versions, events.

Pure functions. An aggregate's events lie in the stream that is named by its
ID, in the order of their versions; its snapshots in another stream, with the
version in each one's metadata, since snapshots are not contiguous.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from eventsourcing.persistence import DataError, StoredEvent

from eventsourcing_eventstoredb.encoding.content_types import BINARY, content_type_of
from eventsourcing_eventstoredb.metadata import VERSION, decoded
from eventsourcing_eventstoredb.protocol.event_ids import new_event_id
from eventsourcing_eventstoredb.protocol.proposals import ProposedEvent

SNAPSHOT_STREAM_PREFIX = "snapshot-$"
# Of streams whose events are no notifications: EventStoreDB's own, and snapshots.
HIDDEN_STREAM_PREFIXES = ("$", SNAPSHOT_STREAM_PREFIX)

STREAM_PREFIX = re.compile("[A-Za-z0-9_]*")
_VERSION = VERSION.encode()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Layout:
    """
    How an application's aggregates lie in streams.

    Attributes:
        prefix: What streams' names begin with, before a hyphen; letters, digits
            and underscores. A hyphen is none of them, so that no prefix begins
            with another one and its hyphen. Empty for streams that are named
            by the ID alone.
        first_version: The version of each aggregate's first event, which lies
            at stream position 0. If it is not 0, the version is also in each
            event's metadata and compared when the event is read.

    Raises:
        ValueError: The prefix has another character, or the version is
            negative.
    """

    prefix: str = ""
    first_version: int = 0

    def __post_init__(self) -> None:
        if not STREAM_PREFIX.fullmatch(self.prefix):
            msg = (
                f"stream prefix {self.prefix!r} must consist of letters, digits "
                "and underscores"
            )
            raise ValueError(msg)
        if self.first_version < 0:
            msg = f"first version {self.first_version} must not be negative"
            raise ValueError(msg)

    @property
    def name_prefix(self) -> str:
        """What the names of the application's streams begin with; maybe empty."""
        return f"{self.prefix}-" if self.prefix else ""

    def stream_name(self, originator_id: UUID | str) -> str:
        """Return the name of the stream that has an aggregate's events."""
        return f"{self.name_prefix}{originator_id}"

    def snapshots_stream_name(self, originator_id: UUID | str) -> str:
        """Return the name of the stream that has an aggregate's snapshots."""
        return f"{SNAPSHOT_STREAM_PREFIX}{self.stream_name(originator_id)}"

    def position(self, version: int) -> int:
        """Return the stream position of the event with a version."""
        return version - self.first_version

    def metadata(self, version: int, said: bytes = b"") -> bytes:
        """
        Return the metadata of an event.

        Args:
            version: The event's version.
            said: A JSON object with at least one member, or nothing.
        """
        if not self.first_version:
            return said
        metadata = version_metadata(version)
        return b"%b, %b" % (metadata[:-1], said[1:]) if said else metadata

    def said(self, metadata: bytes, version: int) -> dict[str, str]:
        """Return what the metadata of the event of a version says beside that."""
        # Most have none, or nothing else, and need not be decoded.
        if not metadata or (
            self.first_version and metadata == version_metadata(version)
        ):
            return {}
        return decoded(metadata)

    def version(self, recorded: Any) -> int:
        """
        Return the version of a recorded event.

        Args:
            recorded: The protocol's ``RecordedEvent``.

        Raises:
            DataError: The event should have its version in its metadata and
                has none, or another one than its position says.
        """
        version = int(recorded.stream_revision) + self.first_version
        if self.first_version and recorded.custom_metadata != version_metadata(version):
            written = version_in_metadata(recorded.custom_metadata)
            if written != version:
                raise DataError(_version_problem(recorded, version, written))
        return version


def proposed_event(
    stored_event: StoredEvent,
    metadata: bytes = b"",
    *,
    marks_json: bool = True,
    event_id: UUID | None = None,
) -> ProposedEvent:
    """
    Return the event to append for *stored_event*, with this ID or a random one.

    The server recognises a repeated append by its events' IDs, so make each
    event once and keep it through every retry. Data that are JSON are marked as
    such, unless *marks_json* is false.
    """
    return ProposedEvent(
        type=stored_event.topic,
        data=stored_event.state,
        metadata=metadata,
        content_type=content_type_of(stored_event.state) if marks_json else BINARY,
        id=new_event_id() if event_id is None else event_id,
    )


def stored_event(
    originator_id: UUID | str, recorded: Any, layout: Layout
) -> StoredEvent:
    """
    Return the library's form of an event in an aggregate's stream.

    Raises:
        DataError: Its metadata has not the version that it should have.
    """
    return StoredEvent(
        originator_id=originator_id,
        originator_version=layout.version(recorded),
        topic=recorded.metadata["type"],
        state=recorded.data,
    )


def stored_snapshot(originator_id: UUID | str, recorded: Any) -> StoredEvent:
    """
    Return the library's form of an event in a snapshots' stream.

    Raises:
        DataError: Its metadata does not say which version it is of.
    """
    version = version_in_metadata(recorded.custom_metadata)
    if version is None:
        msg = (
            f"Snapshot at position {recorded.stream_revision} of stream "
            f"{_stream_name(recorded)!r} has no originator_version in its metadata"
        )
        raise DataError(msg)
    return StoredEvent(
        originator_id=originator_id,
        originator_version=version,
        topic=recorded.metadata["type"],
        state=recorded.data,
    )


def version_metadata(version: int) -> bytes:
    """Return metadata that says which version an event or a snapshot is of."""
    return b'{"%b": %d}' % (_VERSION, version)


def version_in_metadata(metadata: bytes) -> int | None:
    """Return the version that metadata says, None if it says none."""
    try:
        return int(json.loads(metadata)[VERSION])
    except (ValueError, KeyError, TypeError):
        return None


def recorded_time(created: str) -> datetime | None:
    """
    Return when an event was recorded, by the server's clock, in UTC.

    Args:
        created: As the protocol says it: in ticks of 100 ns since the Unix epoch.

    Returns:
        None where that is no such number.
    """
    try:
        return _EPOCH + timedelta(microseconds=int(created) // 10)
    except (ValueError, OverflowError):
        return None


def _version_problem(recorded: Any, version: int, written: int | None) -> str:
    says = (
        "no originator_version in its metadata"
        if written is None
        else f"originator_version {written} in its metadata"
    )
    return (
        f"Event at position {recorded.stream_revision} of stream "
        f"{_stream_name(recorded)!r} has {says}, but should have {version}: check "
        "EVENTSTOREDB_FIRST_VERSION, which must be what the stream was written with"
    )


def _stream_name(recorded: Any) -> str:
    return str(recorded.stream_identifier.stream_name, "utf-8", "replace")
