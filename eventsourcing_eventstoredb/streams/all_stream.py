"""An application's notifications, found in the log of all streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eventsourcing.persistence import Notification

from eventsourcing_eventstoredb.protocol import calls, messages
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.connections import Connection
from eventsourcing_eventstoredb.protocol.errors import client_errors
from eventsourcing_eventstoredb.streams.event_filter import EventFilter
from eventsourcing_eventstoredb.streams.mapping import recorded_time

# The first page is what was asked for. Later ones grow, since then most of what
# lies there is not the application's.
_MAX_PAGE_SIZE = 5000


@dataclass(frozen=True)
class LogHead:
    """
    The last event of all, whosever it is.

    Attributes:
        position: Its commit position.
        time: When it was recorded, by the server's clock, in UTC; None if it does
            not say.
    """

    position: int
    time: datetime | None


class AllStream:
    """
    Reads the log of all streams for the events that one filter lets through.

    Args:
        client: Any client of esdbclient or kurrentdbclient.
        event_filter: Which events are notifications.
    """

    def __init__(self, client: EventStoreDBClient, event_filter: EventFilter) -> None:
        self.client = client
        self.event_filter = event_filter
        self._server_filter = event_filter.server_filter

    def head(
        self, timeout: float | None = None, connection: Connection | None = None
    ) -> int | None:
        """
        Return the position of the last event of all, None if there is none.

        Raises:
            OperationalError: The server did not answer in *timeout* seconds.
        """
        last = self.last(timeout, connection)
        return None if last is None else last.position

    def event_at(
        self,
        position: int,
        timeout: float | None = None,
        connection: Connection | None = None,
        *,
        what: str = "Reading all streams",
    ) -> Any:
        """
        Return the recorded event at a position, None if none is there; whosever it is.

        Args:
            position: The position.
            timeout: Seconds to wait for the answer; None for the client's default.
            connection: What to ask over; None for the client's.
            what: What it is for; an error begins with that.

        Raises:
            PositionRefusedError: The server refuses to begin there.
            OperationalError: The server did not answer in *timeout* seconds.
        """
        with client_errors(what):
            return calls.read_at(self.client, position, timeout, connection)

    def last(
        self, timeout: float | None = None, connection: Connection | None = None
    ) -> LogHead | None:
        """
        Return where the log ends, None if it is empty; reads one event.

        Raises:
            OperationalError: The server did not answer in *timeout* seconds.
        """
        with client_errors("Reading all streams backwards"):
            recorded = calls.read_last(self.client, timeout, connection)
        if recorded is None:
            return None
        return LogHead(
            int(recorded.commit_position), recorded_time(recorded.metadata["created"])
        )

    def notifications(
        self,
        start: int | None,
        *,
        first_page: int,
        backwards: bool = False,
        timeout: float | None = None,
        connection: Connection | None = None,
    ) -> Iterator[Notification]:
        """
        Yield notifications page by page, each of them once.

        Args:
            start: Position to begin at, inclusive forwards; None for the end
                that the direction begins at.
            first_page: How many will probably be taken.
            backwards: Whether to read towards the first event.
            timeout: Seconds that each page may take.
            connection: What to read over; None for the client's.

        Raises:
            ProgrammingError: *start* is not the position of an event, and there
                are later ones.
            OperationalError: The read was cut short.
        """
        convert = self.event_filter.notification
        # One more, since a forwards page begins with the last event before it.
        page = min(first_page + 1, _MAX_PAGE_SIZE)
        previous = None
        while True:
            received = 0
            with client_errors("Reading all streams"):
                request = messages.all_request(
                    start,
                    backwards=backwards,
                    limit=page,
                    server_filter=self._server_filter,
                )
                for message in calls.read_messages(
                    self.client, request, timeout, connection=connection
                ):
                    if not message.HasField("event"):
                        continue
                    received += 1
                    recorded = message.event.event
                    start = recorded.commit_position
                    if start != previous:
                        notification = convert(recorded)
                        if notification is not None:
                            yield notification
            if received < page:
                return
            previous = start
            page = min(page * 4, _MAX_PAGE_SIZE)

    def passed_over_position(
        self, after: int | None, timeout: float | None = None
    ) -> int | None:
        """
        Return up to where nothing is left to process.

        Args:
            after: Position of the last event that was processed; None for none.
            timeout: Seconds that each of the two reads may take.

        Returns:
            The position of an event that exists, beyond *after*, where no
            event from *after* up to it is a notification. None if there is
            none, or if there is a notification beyond *after*.
        """
        # Of one node: another one may lag behind the head.
        connection = self.connection(timeout)
        # The order matters: what is written between the two reads lies beyond
        # the head, and is found rather than passed over.
        head = self.head(timeout, connection)
        if head is None or (after is not None and head <= after):
            return None
        # Forwards, since backwards the server would search the whole log for
        # the last match, however long ago that was.
        following = self.notifications(
            after, first_page=1, timeout=timeout, connection=connection
        )
        try:
            for notification in following:
                if after is None or notification.id > after:
                    return None
        finally:
            following.close()  # type: ignore[attr-defined]
        return head

    def connection(self, timeout: float | None = None) -> Connection:
        """
        Return the connection to read over, for reads that belong together.

        Raises:
            OperationalError: There is none in *timeout* seconds.
        """
        with client_errors("Connecting"):
            return calls.connection_of(self.client, timeout)

    def subscribe(self, after: int | None, connection: Connection) -> Any:
        """Start a subscription's call; its first message confirms it."""
        request = messages.subscription_request(after, self._server_filter)
        return calls.start_read(connection, request)
