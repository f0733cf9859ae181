"""Which type of aggregate ID the class has that a topic names."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from eventsourcing.persistence import find_id_convertor
from eventsourcing.utils import resolve_topic


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
