"""Which type an aggregate's ID is of, by its event's class or by itself."""

from __future__ import annotations

import re
from functools import lru_cache
from uuid import UUID

from eventsourcing.persistence import find_id_convertor
from eventsourcing.utils import resolve_topic

# As this package writes them; another spelling is another stream's name.
_UUID = re.compile("[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def is_uuid(name: str) -> bool:
    """Tell whether a text is a UUID as streams are named by it."""
    return _UUID.fullmatch(name) is not None


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
