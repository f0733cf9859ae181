"""
Looking at what lies in the store, newest first, page by page.

For people: events come as they are stored, by any client, and none is decoded.
What is read is what is shown, so that long streams cost no more than short ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eventsourcing.persistence import ProgrammingError

from eventsourcing_eventstoredb.browsing.events import BrowsedEvent, browsed
from eventsourcing_eventstoredb.browsing.searching import Page, Read, Wanted, search
from eventsourcing_eventstoredb.protocol import calls, messages, retrying
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.errors import client_errors
from eventsourcing_eventstoredb.streams.mapping import SNAPSHOT_STREAM_PREFIX, Layout

__all__ = ["MOST_LOOKED_AT", "BrowsedEvent", "Following", "Page", "StoreBrowser"]

# Events that a search looks at by default until it says how far it has come.
MOST_LOOKED_AT = 100_000
# What the server takes for a position; larger numbers cannot even be sent.
_LARGEST_POSITION = 2**63 - 1


@dataclass(frozen=True)
class Following:
    """
    Some events, oldest first.

    Attributes:
        events: Those that match.
        position: Up to where the log was looked at; None if nothing lies there.
        has_more: Whether more may lie behind it.
    """

    events: tuple[BrowsedEvent, ...]
    position: int | None
    has_more: bool


class StoreBrowser:
    """
    Reads an application's streams, and those of its snapshots.

    EventStoreDB's own streams are left out, whose names begin with ``$``, unless one is
    asked for by its name.

    Args:
        client: Any client of esdbclient or kurrentdbclient.
        layout: How the application's aggregates lie in streams. Without a prefix all
            streams are looked at.
    """

    def __init__(self, client: EventStoreDBClient, layout: Layout) -> None:
        self._client = client
        self._layout = layout
        own = layout.name_prefix
        self._own_prefixes = (own, f"{SNAPSHOT_STREAM_PREFIX}{own}")

    def stream_named(self, text: str) -> str:
        """Return the stream that an aggregate's ID or a stream's own name means."""
        prefixes = ("$", SNAPSHOT_STREAM_PREFIX, self._layout.name_prefix or "$")
        if text.startswith(prefixes):
            return text
        return self._layout.stream_name(text)

    def is_own_stream(self, name: str) -> bool:
        """Return whether a stream is the application's, or has its snapshots."""
        return not name.startswith("$") and name.startswith(self._own_prefixes)

    def aggregate_of(self, stream: str) -> str:
        """Return the ID of the aggregate that a stream of the application is of."""
        name = stream.removeprefix(SNAPSHOT_STREAM_PREFIX)
        return name.removeprefix(self._layout.name_prefix)

    def at(self, position: int) -> BrowsedEvent | None:
        """
        Return the event at a position in the log of all streams; None if none is there.

        It is returned whosever it is.

        Raises:
            OperationalError: The read was cut short.
        """
        if not 0 <= position <= _LARGEST_POSITION:
            return None
        request = messages.all_request(position, backwards=False, limit=1)

        def attempt(seconds: float) -> BrowsedEvent | None:
            with client_errors("Reading all streams"):
                for message in calls.read_messages(self._client, request, seconds):
                    if message.HasField("event"):
                        event = browsed(message.event.event)
                        return event if event.position == position else None
                return None

        try:
            return retrying.with_retries(self._client, attempt, retrying.READ_DEADLINE)
        except ProgrammingError:
            # It lies within or behind events.
            return None

    def with_id(
        self, event_id: str, before: int, *, most: int = MOST_LOOKED_AT
    ) -> BrowsedEvent | None:
        """
        Return the application's last event with an ID before a position.

        The server knows no order of IDs, so events are looked through.

        Args:
            event_id: A UUID as text.
            before: Position of an event.
            most: How many events the server may send to find it, at least.

        Returns:
            The event; None if it is not among those that were looked at.

        Raises:
            ProgrammingError: *before* is not the position of an event.
            OperationalError: The read was cut short.
        """
        page = search(
            self._client,
            "Reading all streams backwards",
            self._backwards(self._server_filter((), "")),
            lambda event: event.position,
            Wanted(
                1,
                before,
                None,
                lambda event: event.event_id == event_id and self._is_own(event),
                most,
                is_only=True,
            ),
        )
        return page.events[0] if page.events else None

    def newest(
        self,
        limit: int,
        *,
        before: int | None = None,
        topics: Sequence[str] = (),
        stream_prefix: str = "",
        since: datetime | None = None,
        most: int = MOST_LOOKED_AT,
        looks_through: bool = False,
    ) -> Page:
        """
        Return the newest events of all streams.

        Args:
            limit: Most events to return.
            before: Position of an event, to return older ones only.
            topics: Types to return, matched exactly; empty for all.
            stream_prefix: What streams' names begin with.
            since: The oldest to return, by the server's clock.
            most: How many events the server may send to find some, at least, while half
                of the time for the read lasts.
            looks_through: Whether to look through all of the application's events here.
                Otherwise the server picks by topic or prefix, which is quicker, but it
                does not say how far it has come where few match.

        Raises:
            ProgrammingError: *before* is not the position of an event.
            OperationalError: The read was cut short.
        """
        matches = self._matcher(topics, stream_prefix)
        picked = ((), "") if looks_through else (topics, stream_prefix)
        return search(
            self._client,
            "Reading all streams backwards",
            self._backwards(self._server_filter(*picked)),
            lambda event: event.position,
            Wanted(limit, before, since, matches, most),
        )

    def stream(
        self,
        name: str,
        limit: int,
        *,
        before: int | None = None,
        topics: Sequence[str] = (),
        since: datetime | None = None,
        most: int = MOST_LOOKED_AT,
    ) -> Page:
        """
        Return the newest events of one stream.

        Args:
            name: The stream's name.
            limit: Most events to return.
            before: Position in the stream, to return older ones only.
            topics: Types to return, matched exactly; empty for all.
            since: The oldest to return, by the server's clock.
            most: How many events the server may send to find some, at least, while half
                of the time for the read lasts.

        Returns:
            The events; none if the stream does not exist or was deleted.

        Raises:
            OperationalError: The read was cut short.
        """
        wanted = frozenset(topics)

        def read(start: int | None, size: int, seconds: float) -> Iterator[Any]:
            if start == 0:
                return iter(())
            position = None if start is None else start - 1
            request = messages.stream_request(
                name, position, backwards=True, limit=size
            )
            return calls.read_messages(self._client, request, seconds)

        return search(
            self._client,
            f"Reading stream {name!r}",
            read,
            lambda event: event.stream_position,
            Wanted(
                limit,
                before,
                since,
                lambda event: not wanted or event.topic in wanted,
                most,
            ),
        )

    def following(
        self,
        after: int | None,
        limit: int,
        *,
        topics: Sequence[str] = (),
        stream: str = "",
        stream_prefix: str = "",
    ) -> Following:
        """
        Return the events that follow a position, oldest first.

        Args:
            after: Position of an event; None for the first ones.
            limit: Most events to read; fewer may match.
            topics: Types to return, matched exactly; empty for all.
            stream: The one stream to look at; empty for all.
            stream_prefix: What streams' names begin with.

        Raises:
            ProgrammingError: *after* is not the position of an event.
            OperationalError: The read was cut short.
        """
        matches = self._matcher(topics, stream_prefix, stream)
        request = messages.all_request(
            after,
            backwards=False,
            # One more, since a page begins with the last event before it.
            limit=limit + 1,
            server_filter=self._server_filter(topics, stream or stream_prefix),
        )

        def attempt(seconds: float) -> list[BrowsedEvent]:
            with client_errors("Reading all streams"):
                return [
                    browsed(message.event.event)
                    for message in calls.read_messages(self._client, request, seconds)
                    if message.HasField("event")
                ]

        read = retrying.with_retries(self._client, attempt, retrying.READ_DEADLINE)
        return Following(
            tuple(e for e in read if e.position != after and matches(e)),
            read[-1].position if read else after,
            has_more=len(read) > limit,
        )

    def _matcher(
        self, topics: Sequence[str], stream_prefix: str = "", stream: str = ""
    ) -> Callable[[BrowsedEvent], bool]:
        """Return what looks again at candidates that the server has picked."""
        wanted = frozenset(topics)

        def matches(event: BrowsedEvent) -> bool:
            if wanted and event.topic not in wanted:
                return False
            if stream:
                return event.stream == stream
            return event.stream.startswith(stream_prefix) and self._is_own(event)

        return matches

    def _backwards(self, server_filter: messages.Filter) -> Read:
        def read(start: int | None, size: int, seconds: float) -> Iterator[Any]:
            request = messages.all_request(
                start, backwards=True, limit=size, server_filter=server_filter
            )
            return calls.read_messages(self._client, request, seconds)

        return read

    def _server_filter(
        self, topics: Sequence[str], stream_prefix: str
    ) -> messages.Filter:
        """Return the filter by which the server picks candidates."""
        if stream_prefix:
            return messages.filter_by_stream(prefixes=[stream_prefix])
        if topics:
            return messages.filter_by_types(topics)
        if self._layout.prefix:
            return messages.filter_by_stream(prefixes=self._own_prefixes)
        return messages.filter_by_stream(pattern=r"^[^$]")

    def _is_own(self, event: BrowsedEvent) -> bool:
        return not event.topic.startswith("$") and self.is_own_stream(event.stream)
