"""
Looking at what lies in the store, newest first, page by page.

For people: events come as they are stored, whoever wrote them, and none is decoded.
What is read is what is shown, so that long streams cost no more than short ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from eventsourcing.persistence import ProgrammingError

from eventsourcing_eventstoredb.mapping import (
    SNAPSHOT_STREAM_PREFIX,
    Layout,
    recorded_time,
)
from eventsourcing_eventstoredb.metadata import decoded
from eventsourcing_eventstoredb.protocol import calls, messages, retrying
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.errors import CallError, Reason, client_errors

# Later pages of a search grow, since then most of what lies there does not match.
_MAX_PAGE_SIZE = 2_000
# Events that a search looks at by default until it says how far it has come.
MOST_LOOKED_AT = 100_000
# EventStoreDB's own type of records that stand for an event in another stream.
_LINK_TYPE = "$>"
# What the server takes for a position; larger numbers cannot even be sent.
_LARGEST_POSITION = 2**63 - 1


# Gets where to begin, how many to read, and the seconds that it may take.
_Read = Callable[[int | None, int, float], Iterator[Any]]


@dataclass(frozen=True, kw_only=True)
class BrowsedEvent:
    """
    An event as it is stored.

    Attributes:
        position: Its commit position in the log of all streams.
        stream: Its stream's name.
        stream_position: Where it lies in its stream, from 0 on.
        event_id: A UUID as text.
        topic: Its type.
        time: When the server recorded it, in UTC; None if it does not say.
        content_type: Of the data.
        data: What the event says, maybe compressed or encrypted.
        metadata: What is said about it, without its version.
        is_snapshot: Whether it stands for earlier ones of an aggregate.
    """

    position: int
    stream: str
    stream_position: int
    event_id: str
    topic: str
    time: datetime | None
    content_type: str
    data: bytes
    metadata: dict[str, str]
    is_snapshot: bool

    @property
    def target(self) -> tuple[str, int] | None:
        """The stream of the event that it links to, and the place there; or None."""
        if self.topic != _LINK_TYPE:
            return None
        place, _, stream = str(self.data, "utf-8", "replace").partition("@")
        is_place = place.isascii() and place.isdecimal() and len(place) < 19
        return (stream, int(place)) if is_place and stream else None


@dataclass(frozen=True)
class Page:
    """
    Some events, newest first.

    Attributes:
        events: Those that match.
        next_before: What to go on before, for older ones; None if there are none. There
            may be some though this page is short or empty: then so many were looked at
            that did not match.
    """

    events: tuple[BrowsedEvent, ...]
    next_before: int | None


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
                        event = self._browsed(message.event.event)
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
        page = self._page(
            "Reading all streams backwards",
            self._backwards(self._server_filter((), "")),
            lambda event: event.position,
            _Wanted(
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
        return self._page(
            "Reading all streams backwards",
            self._backwards(self._server_filter(*picked)),
            lambda event: event.position,
            _Wanted(limit, before, since, matches, most),
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

        return self._page(
            f"Reading stream {name!r}",
            read,
            lambda event: event.stream_position,
            _Wanted(
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
                    self._browsed(message.event.event)
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

    def _backwards(self, server_filter: messages.Filter) -> _Read:
        def read(start: int | None, size: int, seconds: float) -> Iterator[Any]:
            request = messages.all_request(
                start, backwards=True, limit=size, server_filter=server_filter
            )
            return calls.read_messages(self._client, request, seconds)

        return read

    def _page(
        self,
        what: str,
        read: _Read,
        place: Callable[[BrowsedEvent], int],
        wanted: _Wanted,
    ) -> Page:
        def attempt(seconds: float) -> Page:
            with client_errors(what):
                try:
                    return self._search(read, place, wanted, seconds)
                except CallError as error:
                    if error.reason is Reason.STREAM_DELETED:
                        return Page((), None)
                    raise

        return retrying.with_retries(self._client, attempt, retrying.READ_DEADLINE)

    def _search(
        self,
        read: _Read,
        place: Callable[[BrowsedEvent], int],
        wanted: _Wanted,
        seconds: float,
    ) -> Page:
        found: list[BrowsedEvent] = []
        start = wanted.before
        looked_at = 0
        # Half of the time is left for the last page, and what was found is returned.
        end = monotonic() + seconds / 2
        # One more tells whether there are older ones.
        size = min(wanted.limit + 1, _MAX_PAGE_SIZE)
        while True:
            received = 0
            for message in read(start, size, seconds):
                if not message.HasField("event"):
                    continue
                received += 1
                event = self._browsed(message.event.event)
                if wanted.is_too_old(event):
                    return Page(tuple(found), None)
                if wanted.matches(event):
                    if len(found) == wanted.limit:
                        return Page(tuple(found), start)
                    found.append(event)
                    if wanted.is_only:
                        return Page(tuple(found), None)
                start = place(event)
            looked_at += received
            if received < size:
                return Page(tuple(found), None)
            if looked_at >= wanted.most or monotonic() > end:
                return Page(tuple(found), start)
            size = min(size * 4, _MAX_PAGE_SIZE)

    def _browsed(self, recorded: Any) -> BrowsedEvent:
        name = str(recorded.stream_identifier.stream_name, "utf-8", "replace")
        return BrowsedEvent(
            position=int(recorded.commit_position),
            stream=name,
            stream_position=int(recorded.stream_revision),
            event_id=recorded.id.string,
            topic=recorded.metadata["type"],
            time=recorded_time(recorded.metadata["created"]),
            content_type=recorded.metadata["content-type"],
            data=recorded.data,
            metadata=decoded(recorded.custom_metadata),
            is_snapshot=name.startswith(SNAPSHOT_STREAM_PREFIX),
        )

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


@dataclass(frozen=True)
class _Wanted:
    limit: int
    before: int | None
    since: datetime | None
    matches: Callable[[BrowsedEvent], bool]
    most: int
    is_only: bool = False

    def is_too_old(self, event: BrowsedEvent) -> bool:
        since, time = self.since, event.time
        return since is not None and time is not None and time < since
