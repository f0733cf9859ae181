"""
What a group writes down: how far it has come, and what it has set aside.

Both are streams, as in EventStoreDB, so they survive a restart and can be looked at.
"""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from eventsourcing_eventstoredb.server.engine.appends import Writer
from eventsourcing_eventstoredb.server.engine.links import ResolvedEvent, resolve
from eventsourcing_eventstoredb.server.engine.reads import Reader
from eventsourcing_eventstoredb.server.errors import (
    StreamDeletedError,
    WrongExpectedVersionError,
)
from eventsourcing_eventstoredb.server.persistent.settings import (
    GroupSettings,
    parse_position,
)
from eventsourcing_eventstoredb.server.storage.metadata import metadata_stream_of
from eventsourcing_eventstoredb.server.storage.records import (
    ANY,
    LINK_TYPE,
    METADATA_TYPE,
    NewEvent,
)

CHECKPOINT_TYPE: Final = "SubscriptionCheckpoint"


def load_checkpoint(reader: Reader, settings: GroupSettings) -> int | None:
    """Read the last checkpoint of a group."""
    with suppress(StreamDeletedError):
        view = reader.view(settings.checkpoint_stream)
        if view.is_found:
            page = view.backwards(reader.log, view.last_number, 1)
            if page:
                return parse_position(json.loads(page[0].data))
    return None


def write_checkpoint(writer: Writer, settings: GroupSettings, position: int) -> None:
    """Write down that everything up to *position* has been processed."""
    text = json.dumps(settings.format_position(position))
    event = NewEvent(uuid.uuid4().bytes, CHECKPOINT_TYPE, True, text.encode())
    writer.append(settings.checkpoint_stream, ANY, [event])


def park(
    writer: Writer, settings: GroupSettings, event: ResolvedEvent, reason: str
) -> None:
    """Set an event aside, with a reason for its operator."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    metadata: dict[str, object] = {"added": now, "reason": reason}
    number = event.original.number
    if number:
        # The real server leaves out what is 0.
        metadata["subscriptionEventNumber"] = number
    record = event.event
    target = (
        # A link that leads nowhere is parked as it is.
        event.original.data
        if record is None
        else f"{record.number}@{record.stream}".encode("utf-8", "replace")
    )
    link = NewEvent(
        id=uuid.uuid4().bytes,
        type=LINK_TYPE,
        is_json=False,
        data=target,
        custom_metadata=json.dumps(metadata, indent=2).encode("utf-8", "replace"),
    )
    writer.append(settings.parked_stream, ANY, [link])


def take_parked(
    reader: Reader, writer: Writer, settings: GroupSettings, stop_at: int | None
) -> list[ResolvedEvent]:
    """
    Take events out of the stream of parked ones, the oldest first.

    Args:
        stop_at: Number in that stream before which to stop; None takes all.
    """
    view = reader.view(settings.parked_stream)
    limit = view.last_number + 1 if stop_at is None else stop_at
    taken = []
    following = 0
    for page in reader.stream_forwards(view, 0, max(limit, 0)):
        for record in page:
            if record.number < limit:
                taken.append(resolve(reader.log, record))
                following = record.number + 1
    if taken:
        _truncate(writer, settings.parked_stream, following)
    return [event for event in taken if event.event is not None]


def count_parked(reader: Reader, settings: GroupSettings) -> int:
    """Count the events that are set aside."""
    view = reader.view(settings.parked_stream)
    first = view.forwards(reader.log, 0, 1) if view.is_found else []
    return view.last_number - first[0].number + 1 if first else 0


def forget(writer: Writer, settings: GroupSettings) -> None:
    """Delete what a group has written."""
    for stream in (settings.checkpoint_stream, settings.parked_stream):
        with suppress(WrongExpectedVersionError, StreamDeletedError):
            writer.delete(stream, ANY)


def _truncate(writer: Writer, stream: str, before: int) -> None:
    content = json.dumps({"$tb": before}, separators=(",", ":")).encode()
    event = NewEvent(uuid.uuid4().bytes, METADATA_TYPE, True, content)
    writer.append(metadata_stream_of(stream), ANY, [event])
