"""
Which events of all streams are an application's notifications.

EventStoreDB filters either by type or by stream. So the server is asked for
candidates, and each of them is looked at again here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID, SafeUUID

from eventsourcing.persistence import DataError, Notification

from eventsourcing_eventstoredb.protocol import messages
from eventsourcing_eventstoredb.streams.mapping import HIDDEN_STREAM_PREFIXES, Layout
from eventsourcing_eventstoredb.text import quoted
from eventsourcing_eventstoredb.topics.allowlist import TopicAllowlist
from eventsourcing_eventstoredb.topics.id_types import (
    UUID_PATTERN,
    is_uuid,
    topic_originator_id_type,
)

_UUID = re.compile(UUID_PATTERN.encode())
# In a catch-up the constructors of UUID and Notification, which set one field at
# a time on a frozen object, would cost as much as all the rest of this package.
_new = object.__new__
_set_int = UUID.int.__set__  # type: ignore[attr-defined, misc]
_set_is_safe = UUID.is_safe.__set__  # type: ignore[attr-defined, misc]

_MOST_UUIDS = 256
_MOST_TOPICS = 4096

_HIDDEN = tuple(prefix.encode() for prefix in HIDDEN_STREAM_PREFIXES)


class EventFilter:
    """
    Picks an application's events and turns them into notifications.

    Args:
        layout: How the application's aggregates lie in streams.
        topics: Types to let through, matched exactly; empty for all.
        originator_id_type: ``UUID`` or ``str``, the type of the aggregates'
            IDs; None to have each event's class decide.
        allowlist: Topics whose classes may be looked up for that.
    """

    def __init__(
        self,
        layout: Layout,
        topics: Sequence[str] = (),
        originator_id_type: type | None = None,
        allowlist: TopicAllowlist | None = None,
    ) -> None:
        self.topics = frozenset(topics)
        self._layout = layout
        self._prefix = layout.name_prefix.encode()
        self._id_type = originator_id_type
        self._allowlist = allowlist
        # Of topics that are let through; only what is known, since an unknown one may
        # get a class.
        self._id_types: dict[str, type] = {}
        self._uuids = _UUIDs(self._prefix)

    @property
    def server_filter(self) -> messages.Filter:
        """The filter by which the server picks candidates."""
        if self._layout.name_prefix:
            return messages.filter_by_stream(prefixes=[self._layout.name_prefix])
        if self.topics:
            return messages.filter_by_types(self.topics)
        hidden = "|".join(map(re.escape, HIDDEN_STREAM_PREFIXES))
        return messages.filter_by_stream(pattern=f"^(?!{hidden})")

    def notification(self, recorded: Any) -> Notification | None:
        """
        Return the library's form of an event in the order of all streams.

        Args:
            recorded: The protocol's ``RecordedEvent``, of any stream.

        Returns:
            The notification, or None for an event that is none of the
            application's: a system event, a snapshot, another topic, or a
            stream that is not named as its aggregates are.

        Raises:
            DataError: The event is the application's, and its metadata has not
                the version that it should have.
        """
        metadata = recorded.metadata
        topic = metadata["type"]
        id_type = self._id_types.get(topic)
        if id_type is None:
            if not self._has(topic):
                return None
            id_type = self._id_type or self._id_type_of(topic)
            if id_type is not None and len(self._id_types) < _MOST_TOPICS:
                self._id_types[topic] = id_type
        name = recorded.stream_identifier.stream_name
        originator_id: UUID | str | None
        if id_type is str:
            if name.startswith(_HIDDEN) or not name.startswith(self._prefix):
                return None
            originator_id = name[len(self._prefix) :].decode()
        else:
            originator_id = self._uuids[name]
            if originator_id is None:
                return None
        layout = self._layout
        if not layout.first_version:
            version = recorded.stream_revision
        else:
            try:
                version = layout.version(recorded)
            except DataError:
                if self._may_be_foreign(topic):
                    return None
                raise
        notification = _new(Notification)
        notification.__dict__.update(
            id=recorded.commit_position,
            originator_id=originator_id,
            originator_version=version,
            topic=topic,
            state=recorded.data,
            # No fields of the library's class. The ID tells this event from any
            # other, also from one at the same place in another store.
            event_id=recorded.id.string,
            metadata=layout.said(recorded.custom_metadata, version),
            # When it was recorded: see mapping.recorded_time.
            created=metadata["created"],
        )
        return notification

    def objection(self, originator_id: UUID | str, topic: str) -> str | None:
        """
        Return why an event would be no notification; None if it would be one.

        Args:
            originator_id: Its aggregate's, whose stream is not hidden.
            topic: Its topic.
        """
        if topic[:1] == "$":
            return f"topic {quoted(topic)} begins with '$' as those of system events"
        if not isinstance(originator_id, str) or is_uuid(originator_id):
            return None
        id_type = self._id_type or self._id_type_of(topic)
        if id_type is str:
            return None
        if id_type is None:
            return (
                f"the ID is a text, and the class of topic {quoted(topic)}, which "
                "would say that it may be, is not found or not allowed"
            )
        return f"the ID is a text, and those of topic {quoted(topic)} are UUIDs"

    def _has(self, topic: str) -> bool:
        return topic[:1] != "$" and (not self.topics or topic in self.topics)

    def _may_be_foreign(self, topic: str) -> bool:
        # With a prefix or topics, or where the class is known here, an event
        # is the application's own, and then something is wrong with it.
        known = self._prefix or self.topics or self._id_type_of(topic)
        return not known

    def _id_type_of(self, topic: str) -> type | None:
        if self._allowlist is not None and not self._allowlist.permits(topic):
            return None
        return topic_originator_id_type(topic)


class _UUIDs(dict[bytes, UUID | None]):
    """
    UUIDs by the names of streams; None for names of other kinds.

    The last ones are kept, since mostly an aggregate has several events in a row.

    Args:
        prefix: What names begin with.
    """

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix

    def __missing__(self, name: bytes) -> UUID | None:
        prefix = self._prefix
        text = name[len(prefix) :]
        # Hidden streams' names are none of these.
        if not name.startswith(prefix) or not _UUID.fullmatch(text):
            return None
        if len(self) >= _MOST_UUIDS:
            self.clear()
        uuid = self[name] = _uuid(int(text.replace(b"-", b""), 16))
        return uuid


def _uuid(value: int) -> UUID:
    uuid = _new(UUID)
    _set_int(uuid, value)
    _set_is_safe(uuid, SafeUUID.unknown)
    return uuid
