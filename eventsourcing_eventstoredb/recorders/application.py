"""Recorders of stored events in EventStoreDB streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import (
    ApplicationRecorder,
    Notification,
    ProgrammingError,
    StoredEvent,
)

from eventsourcing_eventstoredb.environment import WATCHDOG_INTERVAL
from eventsourcing_eventstoredb.exceptions import PositionRefusedError
from eventsourcing_eventstoredb.metadata import MetadataProvider
from eventsourcing_eventstoredb.protocol import retrying
from eventsourcing_eventstoredb.protocol.clients import EventStoreDBClient
from eventsourcing_eventstoredb.protocol.errors import Reason, reason_of
from eventsourcing_eventstoredb.recorders.aggregates import (
    EventStoreDBAggregateRecorder,
)
from eventsourcing_eventstoredb.streams.all_stream import AllStream, LogHead
from eventsourcing_eventstoredb.streams.appending import check_not_hidden
from eventsourcing_eventstoredb.streams.event_filter import EventFilter
from eventsourcing_eventstoredb.streams.mapping import Layout
from eventsourcing_eventstoredb.streams.reading import read_stream
from eventsourcing_eventstoredb.subscriptions.subscription import (
    EventStoreDBSubscription,
)
from eventsourcing_eventstoredb.text import quoted
from eventsourcing_eventstoredb.topics.allowlist import TopicAllowlist

__all__ = ["EventStoreDBAggregateRecorder", "EventStoreDBApplicationRecorder"]

_STREAM_PAGE = 500


class EventStoreDBApplicationRecorder(
    EventStoreDBAggregateRecorder, ApplicationRecorder
):
    """
    Also reads all the application's events in the order they were recorded.

    A notification's ID is its event's commit position: IDs grow, with gaps.
    Snapshots, system events and streams that are not named as the
    application's aggregates are passed over.

    Args:
        client: Any client of esdbclient or kurrentdbclient; it stays the caller's to
            close.
        for_snapshotting: Whether these are snapshots.
        originator_id_type: ``UUID`` or ``str``, the type of the aggregates'
            IDs; None to have each event's class decide.
        layout: How the aggregates lie in streams. With a prefix only streams
            that have it are the application's.
        marks_json: As the aggregate recorder's.
        watchdog_interval: Seconds of silence after which a subscription asks
            the server whether it is alive.
        allowlist: Topics whose classes may be asked for the type of their IDs;
            None for all.
        metadata_provider: Called for each save, adds to the metadata of events; None if
            there is none.
    """

    def __init__(
        self,
        client: EventStoreDBClient,
        for_snapshotting: bool = False,
        *,
        originator_id_type: type | None = None,
        layout: Layout | None = None,
        marks_json: bool = True,
        watchdog_interval: float = WATCHDOG_INTERVAL,
        allowlist: TopicAllowlist | None = None,
        metadata_provider: MetadataProvider | None = None,
    ) -> None:
        super().__init__(
            client,
            for_snapshotting,
            layout=layout,
            marks_json=marks_json,
            metadata_provider=metadata_provider,
        )
        self.originator_id_type = originator_id_type
        self.watchdog_interval = watchdog_interval
        self.allowlist = allowlist

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """
        Append the events of one aggregate, as the aggregate recorder does.

        Returns:
            For each event the commit position of the last one, which is all
            that EventStoreDB tells. When the last has been processed, so have
            the others.

        Raises:
            ProgrammingError: Also if an event would be no notification, since the
                aggregate's ID is a text and its class has UUIDs or is unknown.
        """
        if stored_events and not self.for_snapshotting:
            topics = {each.topic for each in stored_events}
            self.check_notified(stored_events[0].originator_id, topics)
        commit_position = self._append(stored_events)
        if commit_position is None:
            return []
        return [commit_position] * len(stored_events)

    def check_notified(self, originator_id: UUID | str, topics: Iterable[str]) -> None:
        """
        Refuse events that would be none of the application's notifications.

        Args:
            originator_id: Their aggregate's ID.
            topics: Theirs.

        Raises:
            ProgrammingError: They could be saved, and no projection would ever see
                them.
        """
        name = self.layout.stream_name(originator_id)
        check_not_hidden(name)
        event_filter = self._event_filter()
        for topic in topics:
            objection = event_filter.objection(originator_id, topic)
            if objection is not None:
                msg = (
                    f"Cannot save to stream {quoted(name)}: {objection}, so "
                    "notifications would pass over the event and no projection would "
                    "see it; where aggregates have texts as IDs, set "
                    "ORIGINATOR_ID_TYPE to text"
                )
                raise ProgrammingError(msg)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """
        Read notifications in the order of their IDs.

        Args:
            start: Commit position of an event, to begin at; None or 1 for the first.
                One more than an event's position means the next one.
            limit: Most notifications to return.
            stop: Highest ID to return; None for up to the last.
            topics: Topics to return, matched exactly; empty for all.
            inclusive_of_start: Whether *start* itself may be returned.

        Raises:
            ProgrammingError: *start* is a position inside an event, and there are
                later notifications.
            DataError: An event's metadata has not the version it should have.
            OperationalError: The read was cut short.
        """
        if limit <= 0 or (stop is not None and start is not None and stop < start):
            return []
        if start == 1 and inclusive_of_start:
            # The library's first ID, where its notification log begins.
            start = None
        after = None if inclusive_of_start else start

        def attempt(seconds: float) -> list[Notification]:
            try:
                return self._selected(start, after, limit, stop, topics, seconds)
            except ProgrammingError as error:
                # Who asks for this very position wants to know if it is an event's.
                if reason_of(error) is not Reason.POSITION or stop == start:
                    raise
                assert start is not None
                # The library's notification log continues at the last ID and one.
                before = start - 1
                return self._selected(before, before, limit, stop, topics, seconds)

        try:
            return retrying.with_retries(self.client, attempt, retrying.READ_DEADLINE)
        except ProgrammingError as error:
            # The server refuses a position that is no event's if there are later
            # events.
            if reason_of(error) is not Reason.POSITION or start is None:
                raise
            return self._nothing_after(start, error)

    def _selected(
        self,
        start: int | None,
        after: int | None,
        limit: int,
        stop: int | None,
        topics: Sequence[str],
        seconds: float,
    ) -> list[Notification]:
        """Read from the event at *start*, and leave out the one at *after*."""
        selected: list[Notification] = []
        found = self.all_stream(topics).notifications(
            start, first_page=limit, timeout=seconds
        )
        for notification in found:
            if stop is not None and notification.id > stop:
                break
            if notification.id != after:
                selected.append(notification)
                if len(selected) == limit:
                    break
        return selected

    def _nothing_after(
        self, start: int, refused: ProgrammingError
    ) -> list[Notification]:
        """Return nothing, unless a notification lies beyond the refused position."""
        # None of the later events may be a notification, as at the end of a log that
        # others write to: then there is nothing to return.
        last = self.max_notification_id()
        if last is None or last < start:
            return []
        msg = (
            f"Reading all streams: position {start} is inside an event, and only where "
            "one begins can be read from; to continue after a notification, select "
            "with start=ID and inclusive_of_start=False"
        )
        raise PositionRefusedError(msg) from refused.__cause__

    def aggregate_notifications(
        self, originator_id: UUID | str, topics: Sequence[str] = ()
    ) -> Iterator[Notification]:
        """
        Yield one aggregate's notifications in their order, read from its stream.

        Args:
            originator_id: The aggregate's ID.
            topics: Topics to return, matched exactly; empty for all.

        Raises:
            DataError: An event's metadata has not the version it should have.
            OperationalError: A read was cut short.
        """
        convert = self.all_stream(topics).event_filter.notification
        name = self.layout.stream_name(originator_id)
        position = None
        while True:
            page = read_stream(
                self.client, name, position, desc=False, limit=_STREAM_PAGE
            )
            for recorded in page:
                notification = convert(recorded)
                if notification is not None:
                    yield notification
            if len(page) < _STREAM_PAGE:
                return
            position = page[-1].stream_revision + 1

    def max_notification_id(self) -> int | None:
        """Return the ID of the last notification, None if there is none."""

        def attempt(seconds: float) -> int | None:
            found = self.all_stream().notifications(
                None, first_page=1, backwards=True, timeout=seconds
            )
            return next((notification.id for notification in found), None)

        return retrying.with_retries(self.client, attempt, retrying.READ_DEADLINE)

    @property
    def may_be_behind(self) -> bool:
        """Whether a node of a cluster answers, which may not have what others have."""
        return retrying.is_cluster(self.client)

    def log_head(self) -> LogHead | None:
        """
        Return where the log of all streams ends, None if it is empty.

        The event may be another application's or the server's own. That makes this
        cheap: the last one of an application has to be looked for.

        Raises:
            OperationalError: The server could not be asked.
        """
        return retrying.with_retries(
            self.client, self.all_stream().last, retrying.READ_DEADLINE
        )

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> EventStoreDBSubscription:
        """
        Return an iterator of notifications that waits for new ones at the end.

        Args:
            gt: Highest ID to leave out; None for the first one on.
            topics: Topics to return, matched exactly; empty for all.

        Raises:
            UnknownPositionError: The store does not have the position *gt*.
            ProgrammingError: *gt* is not the position of an event, or the server
                refuses. Servers newer than 23.10 tell a wrong position only after
                they have confirmed: then the iteration raises it.
            OperationalError: The server could not be asked.
        """
        return EventStoreDBSubscription(
            recorder=self,
            gt=gt,
            topics=topics,
            watchdog_interval=self.watchdog_interval,
        )

    def passed_over_position(
        self, after: int | None, topics: Sequence[str] = ()
    ) -> int | None:
        """
        Return up to where a projection that is idle has nothing left to process.

        Args:
            after: Position of the last event that it processed; None for none.
            topics: Topics that it processes, matched exactly; empty for all.

        Returns:
            The position of an event that exists, beyond *after*, up to which
            nothing is the projection's. None if there is none, or if there is
            something to process.

        Raises:
            ProgrammingError: *after* is not the position of an event.
            OperationalError: A read was cut short.
        """
        return retrying.with_retries(
            self.client,
            lambda seconds: self.all_stream(topics).passed_over_position(
                after, seconds
            ),
            retrying.READ_DEADLINE,
        )

    def all_stream(self, topics: Sequence[str] = ()) -> AllStream:
        """Return the log of all streams, for the application's events of *topics*."""
        return AllStream(self.client, self._event_filter(topics))

    def _event_filter(self, topics: Sequence[str] = ()) -> EventFilter:
        return EventFilter(self.layout, topics, self.originator_id_type, self.allowlist)
