"""
Between the library's stored events and EventStoreDB's: names, filters, events.

Pure functions. An aggregate's events lie in the stream that is named by its
ID, at the positions that are their versions; its snapshots in another stream,
with the version in each one's metadata, since snapshots are not contiguous.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from esdbclient import NewEvent, RecordedEvent
from eventsourcing.persistence import (
    DataError,
    Notification,
    StoredEvent,
    find_id_convertor,
)
from eventsourcing.utils import resolve_topic

SNAPSHOT_STREAM_PREFIX = "snapshot-$"

_CONTENT_TYPE: Final = "application/octet-stream"


def stream_name(originator_id: UUID | str, *, for_snapshotting: bool = False) -> str:
    """Return the name of the stream that has an aggregate's events or snapshots."""
    prefix = SNAPSHOT_STREAM_PREFIX if for_snapshotting else ""
    return f"{prefix}{originator_id}"


def new_event(stored_event: StoredEvent, *, for_snapshotting: bool = False) -> NewEvent:
    """
    Return the event to append for *stored_event*, with a random ID of its own.

    The server recognises a repeated append by its events' IDs, so make each
    event once and keep it through every retry.
    """
    metadata = b""
    if for_snapshotting:
        metadata = json.dumps(
            {"originator_version": stored_event.originator_version}
        ).encode()
    return NewEvent(
        type=stored_event.topic,
        data=stored_event.state,
        metadata=metadata,
        content_type=_CONTENT_TYPE,
    )


def stored_event(originator_id: UUID | str, event: RecordedEvent) -> StoredEvent:
    """Return the library's form of an event in an aggregate's stream."""
    return StoredEvent(
        originator_id=originator_id,
        originator_version=event.stream_position,
        topic=event.type,
        state=event.data,
    )


def stored_snapshot(originator_id: UUID | str, event: RecordedEvent) -> StoredEvent:
    """
    Return the library's form of an event in a snapshots' stream.

    Raises:
        DataError: Its metadata does not say which version it is of.
    """
    try:
        version = int(json.loads(event.metadata)["originator_version"])
    except (ValueError, KeyError, TypeError) as error:
        msg = (
            f"Snapshot at position {event.stream_position} of stream "
            f"{event.stream_name!r} has no originator_version in its metadata"
        )
        raise DataError(msg) from error
    return StoredEvent(
        originator_id=originator_id,
        originator_version=version,
        topic=event.type,
        state=event.data,
    )


def server_filter(topics: Sequence[str]) -> dict[str, Any]:
    """
    Return the filter by which the server picks candidates for notifications.

    EventStoreDB filters either by type or by stream. With topics it is asked
    for exactly those types, without them for all streams that are neither a
    system's nor snapshots'. The rest is :func:`notification`'s to decide.
    """
    if topics:
        # One group, since the client anchors only the ends of the whole.
        pattern = "|".join(re.escape(topic) for topic in topics)
        return {"filter_include": (f"(?:{pattern})",)}
    return {
        "filter_exclude": (r"\$.*", re.escape(SNAPSHOT_STREAM_PREFIX) + ".*"),
        "filter_by_stream_name": True,
    }


def notification(
    event: RecordedEvent,
    topics: Sequence[str] = (),
    originator_id_type: type | None = None,
) -> Notification | None:
    """
    Return the library's form of an event in the order of all streams.

    Args:
        event: An event that was recorded in any stream.
        topics: Types to let through; empty for all.
        originator_id_type: ``UUID`` or ``str``: the type of the application's
            aggregate IDs. None: each event's class decides.

    Returns:
        The notification, or None for an event that is none of the
        application's: a system event, a snapshot, another topic, or a stream
        that is not named as its aggregates are.
    """
    name = event.stream_name
    if (
        event.type.startswith("$")
        or name.startswith(("$", SNAPSHOT_STREAM_PREFIX))
        or (topics and event.type not in topics)
    ):
        return None
    originator_id = _originator_id(
        name, originator_id_type or topic_originator_id_type(event.type) or UUID
    )
    if originator_id is None:
        return None
    assert event.commit_position is not None
    return Notification(
        id=event.commit_position,
        originator_id=originator_id,
        originator_version=event.stream_position,
        topic=event.type,
        state=event.data,
    )


def _originator_id(name: str, id_type: type) -> UUID | str | None:
    if id_type is str:
        return name
    # UUID() also takes braces, prefixes and missing hyphens, under which this
    # package has never written.
    if len(name) != 36:
        return None
    try:
        return UUID(name)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def topic_originator_id_type(topic: str) -> type | None:
    """Return the type of ID that the topic's event class has, None if unknown."""
    try:
        event_class = resolve_topic(topic)
        # The library's own rule; it converts strings where a class has UUIDs.
        id_type = type(find_id_convertor(event_class, str)(str(UUID(int=0))))
    except Exception:
        # Whatever a foreign topic's import raises, it is not ours to report:
        # if the event is the application's, its mapper will.
        return None
    return id_type
