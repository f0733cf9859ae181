"""What an aggregate's ID tells, and which type it is of by its event's class."""

from __future__ import annotations

import re
from functools import lru_cache
from uuid import UUID

from eventsourcing.persistence import find_id_convertor
from eventsourcing.utils import resolve_topic

# As this package writes them. Another spelling of an ID is another stream's name, where
# the aggregate with that ID would not be found.
UUID_PATTERN = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"

_UUID = re.compile(UUID_PATTERN)

# Versions of UUIDs of a moment or at random, so that no stream had them before.
_UNIQUE_VERSIONS = (1, 4, 6, 7)
_UUID_LENGTH = 36


def is_uuid(name: str) -> bool:
    """Tell whether a text is a UUID as streams are named by it."""
    return _UUID.fullmatch(name) is not None


def is_unique(originator_id: UUID | str) -> bool:
    """Tell whether an ID, or the end of one, is a UUID that nothing had before."""
    if isinstance(originator_id, str):
        try:
            originator_id = UUID(originator_id[-_UUID_LENGTH:])
        except ValueError:
            return False
    return originator_id.version in _UNIQUE_VERSIONS


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
