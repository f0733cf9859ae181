"""
Metadata of streams: how they limit what is read, and how deletion is written down.

The metadata of a stream are the last event of its metadata stream, `$$` before the
name. A soft deletion is metadata that hide every event there can be.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Final

from eventsourcing_eventstoredb.server.storage.records import (
    MAX_NUMBER,
    METADATA_TYPE,
    NewEvent,
    Record,
)

METADATA_PREFIX: Final = "$$"

_TRUNCATE_BEFORE = "$tb"
_TICKS_PER_SECOND = 10_000_000


def is_metadata_stream(stream: str) -> bool:
    """Tell whether *stream* holds another stream's metadata."""
    return stream.startswith(METADATA_PREFIX)


def metadata_stream_of(stream: str) -> str:
    """Name the stream that holds the metadata of *stream*."""
    return METADATA_PREFIX + stream


def original_stream_of(stream: str) -> str:
    """Name the stream whose metadata the metadata stream *stream* holds."""
    return stream[len(METADATA_PREFIX) :]


@dataclass(frozen=True, slots=True)
class StreamMetadata:
    """
    The limits that metadata put on reading a stream.

    Attributes:
        max_count: At most so many events are shown, the latest.
        max_age: Only events younger than this are shown, in seconds.
        truncate_before: Only events from this number on are shown.
    """

    max_count: int | None = None
    max_age: int | None = None
    truncate_before: int | None = None

    @property
    def is_soft_deleted(self) -> bool:
        return self.truncate_before == MAX_NUMBER

    def first_number(self, last_number: int) -> int:
        """Tell the first number shown of a stream whose last one is *last_number*."""
        first = self.truncate_before or 0
        if self.max_count is not None:
            first = max(first, last_number - self.max_count + 1)
        return first

    def oldest(self, now: int) -> int:
        """Tell the earliest time of writing shown at *now*, both in 100 ns ticks."""
        return 0 if self.max_age is None else now - self.max_age * _TICKS_PER_SECOND


NO_METADATA: Final = StreamMetadata()

# A metadata stream that is written again counts on, yet only the last event shows.
OF_METADATA_STREAM: Final = StreamMetadata(max_count=1)


def parse_metadata(record: Record | None) -> StreamMetadata:
    """
    Read the limits out of the last event of a metadata stream.

    Anything that is not declared to be JSON, is no JSON object, or has a known key of
    a wrong type limits nothing. A number that makes no sense is passed over.
    """
    if record is None or not record.is_json:
        return NO_METADATA
    try:
        content = json.loads(record.data)
    except (ValueError, RecursionError):
        return NO_METADATA
    if not isinstance(content, dict) or not _has_right_types(content):
        return NO_METADATA
    return StreamMetadata(
        max_count=_number(content, "$maxCount", 1),
        max_age=_number(content, "$maxAge", 1),
        truncate_before=_number(content, _TRUNCATE_BEFORE, 0),
    )


def _has_right_types(content: dict[str, object]) -> bool:
    for key in ("$maxCount", "$maxAge", _TRUNCATE_BEFORE, "$cacheControl"):
        if key in content and type(content[key]) is not int:
            return False
    if "$tmp" in content and not isinstance(content["$tmp"], bool):
        return False
    acl = content.get("$acl", {})
    return isinstance(acl, dict) and all(
        isinstance(roles, str)
        or (isinstance(roles, list) and all(isinstance(one, str) for one in roles))
        for key, roles in acl.items()
        if key in ("$r", "$w", "$d", "$mr", "$mw")
    )


def _number(content: dict[str, object], key: str, least: int) -> int | None:
    value = content.get(key)
    if not isinstance(value, int) or not least <= value <= MAX_NUMBER:
        return None
    return value


def soft_deletion() -> NewEvent:
    """Make the metadata event that deletes a stream, in place of earlier metadata."""
    return _metadata_event({_TRUNCATE_BEFORE: MAX_NUMBER})


def revival(record: Record | None, first_number: int) -> NewEvent | None:
    """
    Make the metadata event that shows a deleted stream again from *first_number* on.

    Args:
        record: The last metadata event; all that it says besides is kept.
        first_number: The first number to show.

    Returns:
        The event, or None when the metadata are no JSON object: then the stream stays
        as it is.
    """
    if record is None:
        return None
    try:
        content = json.loads(record.data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    content[_TRUNCATE_BEFORE] = first_number
    return _metadata_event(content)


def _metadata_event(content: dict[str, object]) -> NewEvent:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return NewEvent(
        id=uuid.uuid4().bytes,
        type=METADATA_TYPE,
        is_json=True,
        data=text.encode("utf-8", "replace"),
    )
